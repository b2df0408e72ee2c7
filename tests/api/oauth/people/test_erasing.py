"""An erased person has no account, session, consent or grant any more; their export shows what there was."""

from core import clock
from core.contract import Person
from db.accounts import find_account
from db.erasures import begin_erasure
from db.merged_users import merge_into
from db.personal_data import personal_data_of
from db.postgres import Pool
from db.receipts import PersonStore, StoreState
from db.tombstones import people_of, saved_tombstones
from tests.api.oauth.people.conftest import LOGIN, USER, Browser, Create, query_of
from tests.erasing import tables_with


async def test_an_erased_person_is_signed_out_and_forgotten(
    browser: Browser, account: Create, client: Create, pool: Pool
) -> None:
    await account()
    await client()
    await browser.send(await browser.sign_in(await browser.ask()), decision="allow")
    held = await personal_data_of(pool, USER)
    (shown,) = held["accounts"]
    assert (shown["login"], len(shown["sessions"]), shown["consents"][0]["client"]) == (LOGIN, 1, "app")
    assert "argon2" not in str(shown)
    assert [(one["client"], one["revokedAt"]) for one in held["grants"]] == [("app", None)]
    erasure, deleted = await begin_erasure(pool, USER, "test", clock.now())
    assert deleted.reports(clock.now())[PersonStore.POSTGRES].status is StoreState.ERASED
    for text in (LOGIN, LOGIN.lower()):
        assert await tables_with(pool, text) == []
    assert await tables_with(pool, USER) == ["erasures"], "the receipt names them until all stores are done"
    assert await find_account(pool, LOGIN.lower()) is None
    assert (await browser.ask(prompt="none")).status_code == 302
    assert query_of((await browser.ask(prompt="none")).headers["location"])["error"] == "login_required"
    assert await pool.fetchval("SELECT count(*) FROM oauth_families WHERE revoked_at IS NULL") == 0
    assert (await personal_data_of(pool, USER))["accounts"] == (await personal_data_of(pool, USER))["grants"] == []
    assert erasure.people == [Person("user", USER)]


async def test_accounts_of_merged_ids_are_erased_too(account: Create, pool: Pool) -> None:
    await account()
    await account("old name", "a long password", "anna-old")
    await merge_into(pool, "anna-old", USER, "test")
    assert len((await personal_data_of(pool, USER))["accounts"]) == 2
    await begin_erasure(pool, USER, "test", clock.now())
    assert await pool.fetchval("SELECT count(*) FROM oauth_accounts") == 0


async def test_a_restored_account_is_found_by_its_tombstone(account: Create, pool: Pool) -> None:
    await begin_erasure(pool, USER, "test", clock.now())
    saved = await saved_tombstones(pool)
    assert saved is not None
    await account()  # as a backup from before would hold it
    assert [person for person, _ in await people_of(pool, saved.tombstones)] == [Person("user", USER)]

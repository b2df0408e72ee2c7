"""`penchant accounts`: the accounts with which people sign in."""

import secrets
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.database import on_pool
from cli.errors import Refused
from cli.interface import AsJson, command_group, print_json, secret_from_stdin

if TYPE_CHECKING:
    from db.accounts import Account
    from db.postgres import Pool

AT_ONCE = 1000  # accounts read by one statement
Name = Annotated[str, typer.Argument(metavar="NAME", help="The login name: an e-mail address or any other text.")]
PasswordFromStdin = Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input.")]

app = command_group("Create accounts with which people sign in, change their passwords, disable them.")


@app.command()
def create(
    name: Name,
    user: Annotated[str, typer.Option(metavar="USER_ID", help="The user of the shop who signs in with it.")],
    password_stdin: PasswordFromStdin = False,
    as_json: AsJson = False,
) -> None:
    """Create the account of a user. Without --password-stdin a random password is made and printed, this once."""
    from api.oauth.clients.secrets import hash_secret
    from api.oauth.people.accounts import check_login, check_password, login_key
    from core.contract import check_user_id
    from db.accounts import create_account

    login, user_id = check_login(name), check_user_id(user, "user")
    password = secret_from_stdin() if password_stdin else new_password()
    hash = hash_secret(check_password(password, login, user_id))
    if not on_pool(lambda pool: create_account(pool, login_key(login), login, user_id, hash)):
        raise Refused("There is an account with this login name, or of this user, already.")
    _print({"login": login, "user_id": user_id} | ({} if password_stdin else {"password": password}), as_json)


@app.command()
def set_password(name: Name, password_stdin: PasswordFromStdin = False, as_json: AsJson = False) -> None:
    """Give an account a new password. Ends its sessions and revokes its tokens, in every process within 3 seconds."""
    from api.oauth.clients.secrets import hash_secret
    from api.oauth.people.accounts import check_login, check_password, login_key
    from db.accounts import change_password, find_account

    key = login_key(check_login(name))
    account = on_pool(lambda pool: find_account(pool, key))
    if account is None:
        raise Refused("There is no account with this login name.")
    password = secret_from_stdin() if password_stdin else new_password()
    hash = hash_secret(check_password(password, account.login, account.user_id))
    if not on_pool(lambda pool: change_password(pool, key, hash)):
        raise Refused("There is no account with this login name.")
    _print({"login": account.login} | ({} if password_stdin else {"password": password}), as_json)


@app.command()
def disable(name: Name, as_json: AsJson = False) -> None:
    """Let nobody sign in to an account. Ends its sessions and revokes its tokens, everywhere within 3 seconds."""
    from db.accounts import disable_account

    if not on_pool(lambda pool: disable_account(pool, _key(name))):
        raise Refused("There is no enabled account with this login name.")
    _print({"login": name.strip(), "state": "disabled"}, as_json)


@app.command()
def enable(name: Name, as_json: AsJson = False) -> None:
    """Let the owner of a disabled account sign in again, with the password it has."""
    from db.accounts import enable_account

    if not on_pool(lambda pool: enable_account(pool, _key(name))):
        raise Refused("There is no disabled account with this login name.")
    _print({"login": name.strip(), "state": "enabled"}, as_json)


@app.command("list")
def list_all(as_json: AsJson = False) -> None:
    """List all accounts, by login name."""
    accounts = [_shown(account) for account in on_pool(_all_accounts)]
    if as_json:
        print_json(accounts)
        return
    for account in accounts:
        typer.echo(f"{account['login']}  {account['state']}  {account['user_id']}")


def new_password() -> str:
    """A random password of 120 bits, without characters that look alike."""
    letters = "abcdefghijkmnopqrstuvwxyz23456789"
    return "-".join("".join(secrets.choice(letters) for _ in range(6)) for _ in range(4))


async def _all_accounts(pool: "Pool") -> "list[Account]":
    from db.accounts import list_accounts

    found: list[Account] = []
    while more := await list_accounts(pool, found[-1].login_key if found else "", AT_ONCE):
        found += more
    return found


def _key(name: str) -> str:
    from api.oauth.people.accounts import check_login, login_key

    return login_key(check_login(name))


def _shown(account: "Account") -> dict[str, Any]:
    return {
        "login": account.login,
        "user_id": account.user_id,
        "state": "disabled" if account.disabled_at else "enabled",
        "created_at": account.created_at.isoformat(timespec="seconds"),
        "password_set_at": account.password_set_at.isoformat(timespec="seconds"),
    }


def _print(made: dict[str, str], as_json: bool) -> None:
    if as_json:
        print_json(made)
    else:
        typer.echo("\n".join(f"{name}: {value}" for name, value in made.items()))

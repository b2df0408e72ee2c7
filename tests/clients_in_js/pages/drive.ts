// Draws the page of one client, loads it to its end, sends events, and prints what happened as JSON.
import * as apollo from "./apollo";
import * as request from "./graphql-request";
import { click, seen, type Show } from "./queries";
import * as relay from "./relay";
import * as urql from "./urql";

const page = { apollo, "graphql-request": request, relay, urql }[process.argv[2] ?? ""];
const pages: string[][] = [];
let cards: Parameters<Show>[0] = [];
let more = true;

/** Apollo and Relay draw a moment after a page has come. */
const nextTurn = () => new Promise<void>((done) => setImmediate(done));

const draw: Show = (drawn, isMore) => {
  [cards, more] = [drawn, isMore];
  pages.push(drawn.map((card) => card.node.id));
};

async function drive(): Promise<void> {
  if (!page) throw new Error("There is no such client.");
  const load = await page.home(4, draw);
  const [first, firstMore] = [cards.map((card) => card.node.id), more];
  while (more) {
    const drawn = pages.length;
    await load();
    for (const end = Date.now() + 10_000; pages.length === drawn && Date.now() < end; ) await nextTurn();
    if (pages.length === drawn || pages.length > 10) throw new Error("The list does not come to its end.");
  }
  const accepted = await page.track([seen(cards.slice(0, 4)), click(cards[1]!)]);
  console.log(JSON.stringify({ first, firstMore, pages, cards, accepted }));
}

drive().then(
  () => process.exit(0),
  (error: unknown) => {
    console.error(error);
    process.exit(1);
  },
);

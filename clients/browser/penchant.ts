/**
 * Reports what people see and do on a shop's pages: views, clicks, visible items. No dependencies.
 *
 * Nothing is stored, observed or sent before the person consents. Events wait in localStorage until the server has
 * them, with their own id and time: sending one again changes nothing. Each tab keeps its own; those of a tab that is
 * gone are sent by the next one. What a user did is never sent with the token of somebody else: it is dropped.
 */

export interface Options {
  /** The address of /graphql. */
  url: string;
  /** An access token for this guest, or for the person who is signed in: your server makes it. It needs events:write. */
  token: (guestId: string) => Promise<string>;
  /** Whether the person has consented. It may be changed later. */
  consent?: boolean;
}

export interface TrackedEvent {
  type: string;
  itemId?: string | null;
  itemIds?: string[];
  impressionId?: string | null;
  id?: string;
  occurredAt?: string;
  [field: string]: unknown;
}

export interface Penchant {
  /** The guest id of this browser; null without consent. */
  guestId(): string | null;
  /** Allow tracking, or end it and forget the guest id and all events that wait. */
  consent(given: boolean): void;
  /** Report any event. */
  track(event: TrackedEvent): void;
  /** Report that the page of an item is looked at. */
  view(itemId: string): void;
  /** Watch the items inside an element that were added since; those of the page are watched at the start. */
  watch(root?: ParentNode): void;
  /** Send what waits now. */
  flush(): Promise<void>;
  /**
   * The person signs in or out without a new page: send what waits with the token so far, then ask for a new one. What is
   * reported from this call on is the new person's. Let your server join the guest to the user with `identify`.
   */
  identify(): Promise<void>;
}

const GUEST = "penchant.guest";
const QUEUE = "penchant.events"; // begins the names of what tabs keep
const MOST_WAITING = 500; // events; the oldest are dropped
const MOST_SENT = 50; // events of a request
const LARGEST_KEPT = 20_000; // characters of a body that outlives its page: the browser allows 64 kB in all
const LINGER = 1_000; // milliseconds that an event waits for others
const VISIBLE = 1_000; // milliseconds that half of an item is in view before it counts as seen
const LONGEST_PAUSE = 300_000; // milliseconds between two tries
const TRACK = `mutation Track($events: [EventInput!]!) {
  trackEvents(events: $events) { results(only: [RETRY, REJECTED]) { index outcome field message } } }`;

/** `by` is the user who did it. Undefined: a guest, or whoever the next token names. NEXT: whoever follows. */
type Waiting = TrackedEvent & { by?: string };
const NEXT = "";

/** The user whom a token names; undefined for a guest's token, and for one that cannot be read. */
const userOf = (token: string): string | undefined => {
  try {
    const { sub } = JSON.parse(atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/")));
    return sub.startsWith("urn:penchant:guest:") ? undefined : sub;
  } catch {
    return undefined;
  }
};

interface Result {
  index: number;
  outcome: string;
  field: string[] | null;
  message: string | null;
}

/** Start. Items are elements with `data-item-id`, inside or with `data-impression-id`. */
export function start(options: Options): Penchant {
  let allowed = false;
  let queue: Waiting[] = [];
  let token: string | undefined;
  let user: string | undefined; // whom the token names
  let leaving = false; // `identify` sends what waits
  let timer: ReturnType<typeof setTimeout> | undefined;
  let due = Infinity;
  let sending: Promise<void> | undefined;
  let failures = 0;
  let most = MOST_SENT;
  let observer: IntersectionObserver | undefined;
  let reported = new Set<string>();
  const inView = new Map<Element, ReturnType<typeof setTimeout>>();
  const seen = new Map<string, string[]>();
  const own = `${QUEUE}.${crypto.randomUUID()}`;
  let leave: (() => void) | undefined;

  const read = (name: string): string | null => {
    try {
      return localStorage.getItem(name);
    } catch {
      return null; // the browser allows no storage
    }
  };
  const write = (name: string, value: string | null): void => {
    try {
      if (value === null) localStorage.removeItem(name);
      else localStorage.setItem(name, value);
    } catch {
      // it stays in memory
    }
  };
  let guest: string | null = null;

  const keep = (): void => write(own, queue.length ? JSON.stringify(queue) : null);
  const kept = (name: string): Waiting[] => {
    try {
      return JSON.parse(read(name) ?? "[]") as Waiting[];
    } catch {
      return []; // another program wrote there
    }
  };
  const names = (): string[] => {
    try {
      return Object.keys(localStorage).filter((name) => name.startsWith(QUEUE));
    } catch {
      return [];
    }
  };
  /** Hold a lock while the page is there: other tabs leave its events alone. Without locks both may send them. */
  const hold = (): void => {
    void navigator.locks?.request(own, () => new Promise<void>((free) => (leave = free)));
  };
  /** Take over what tabs that are gone have kept. */
  const adopt = (): void => {
    for (const name of names()) {
      const take = (lock?: Lock | null): void => {
        if (lock === null || !allowed || name === own) return;
        queue = [...kept(name), ...queue].slice(-MOST_WAITING);
        keep();
        write(name, null);
        if (queue.length) plan(0);
      };
      if (navigator.locks) void navigator.locks.request(name, { ifAvailable: true }, take);
      else take();
    }
  };
  const plan = (pause: number): void => {
    const at = Date.now() + pause;
    if (at >= due) return;
    clearTimeout(timer);
    due = at;
    timer = setTimeout(() => void flush(), pause);
  };
  const put = (event: TrackedEvent): void => {
    if (!allowed) return;
    const by = leaving ? NEXT : user;
    queue.push({ id: crypto.randomUUID(), occurredAt: new Date().toISOString(), ...event, by });
    queue.splice(0, queue.length - MOST_WAITING);
    keep();
    if (!failures) plan(queue.length < MOST_SENT ? LINGER : 0);
  };
  const putSeen = (): void => {
    for (const [impressionId, itemIds] of seen) put({ type: "IMPRESSION", impressionId: impressionId || null, itemIds });
    seen.clear();
  };

  const ask = (sent: Waiting[]): Promise<Response> => {
    const events = sent.map((event) => ({ ...event, by: undefined }));
    const body = JSON.stringify({ query: TRACK, variables: { events } });
    return fetch(options.url, {
      method: "POST",
      keepalive: body.length < LARGEST_KEPT, // it outlives the page; sendBeacon could not send the token
      headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
      body,
    });
  };

  /** Take the events off the queue that the answer settles. False: send the rest later. */
  const settle = (sent: Waiting[], results: Result[]): boolean => {
    const again = new Set<Waiting>();
    for (const { index, outcome, field, message } of results) {
      const event = sent[index];
      if (!event) continue;
      if (outcome === "RETRY") again.add(event);
      else if (field?.[0] === "occurredAt" && event.occurredAt) {
        delete event.id; // the clock of the browser is wrong: let the server set both
        delete event.occurredAt;
        again.add(event);
      } else console.warn("Penchant refused an event:", message, event);
    }
    queue = queue.filter((event) => !sent.includes(event) || again.has(event));
    keep();
    return !again.size;
  };

  /** Take a token. False: meanwhile the consent was withdrawn, maybe given again, and the token is another guest's. */
  const renew = async (): Promise<boolean> => {
    const sender = guest;
    const found = await options.token(sender ?? "");
    if (guest !== sender) return false;
    token = found;
    user = userOf(found);
    queue.forEach((event) => (event.by ||= user));
    return true;
  };

  const send = async (): Promise<boolean> => {
    if (token === undefined && !(await renew())) return false;
    const sender = user;
    queue = queue.filter(({ by }) => !by || by === sender); // another user's token would make them that user's
    const sent = queue.filter(({ by }) => by !== NEXT).slice(0, most);
    keep();
    if (!sent.length) return false;
    let answer = await ask(sent);
    if (answer.status === 401) {
      if (!(await renew())) return false;
      if (user !== sender) return true;
      answer = await ask(sent);
    }
    if (answer.status === 429 || answer.status >= 500) {
      failures = Math.max(failures, Math.ceil(Math.log2(Number(answer.headers.get("retry-after")) || 1)));
      return false;
    }
    const { data, errors } = await answer.json();
    const results: Result[] | undefined = data?.trackEvents?.results;
    if (!results) console.warn("Penchant refused events:", errors?.[0]?.message);
    if (!results && answer.status !== 413 && errors?.[0]?.extensions?.code !== "BAD_USER_INPUT") {
      token = undefined;
      return false;
    }
    if (!results && sent.length > 1) {
      most = 1; // one of them has a wrong field or is too large: send each alone
      return true;
    }
    return allowed && settle(sent, results ?? []);
  };

  const sendAll = async (): Promise<void> => {
    try {
      while (queue.length && (await send())) failures = 0;
    } catch {
      token = undefined; // offline, or no token
    }
    sending = undefined;
    if (!queue.length) most = MOST_SENT;
    else if (allowed) {
      failures += 1;
      plan(Math.min(LINGER * 2 ** failures, LONGEST_PAUSE));
    }
  };
  const flush = async (): Promise<void> => {
    putSeen();
    clearTimeout(timer);
    due = Infinity;
    if (!sending && queue.length) sending = sendAll();
    await sending;
  };

  /** The page may go at any moment. With a token at hand, the request begins before this returns. */
  const sendNow = (): void => void flush();

  const namesOf = (target: Element): [string, string] => [
    target.closest("[data-impression-id]")?.getAttribute("data-impression-id") ?? "",
    target.getAttribute("data-item-id") ?? "",
  ];
  const onClick = (event: Event): void => {
    const item = event.target instanceof Element && event.target.closest("[data-item-id]");
    if (!item) return;
    const [impressionId, itemId] = namesOf(item);
    put({ type: "CLICK", itemId, impressionId: impressionId || null });
  };
  const onView = (entries: IntersectionObserverEntry[]): void => {
    for (const { target, isIntersecting } of entries) {
      clearTimeout(inView.get(target));
      inView.delete(target);
      if (isIntersecting) inView.set(target, setTimeout(() => onSeen(target), VISIBLE));
    }
  };
  const onSeen = (target: Element): void => {
    const [impressionId, itemId] = namesOf(target);
    const key = JSON.stringify([impressionId, itemId]);
    observer?.unobserve(target);
    inView.delete(target);
    if (reported.has(key)) return;
    reported.add(key);
    seen.set(impressionId, [...(seen.get(impressionId) ?? []), itemId]);
    plan(LINGER);
  };
  const onHidden = (): void => {
    if (document.visibilityState === "hidden") sendNow();
  };

  const onLeave = (): void => {
    sendNow();
    leave?.(); // a page that holds a lock could not be kept for the way back
  };
  const onReturn = ({ persisted }: PageTransitionEvent): void => {
    if (!persisted) return;
    hold();
    queue = kept(own); // another tab may have taken it over
  };

  const watch = (root: ParentNode = document): void => {
    root.querySelectorAll("[data-item-id]").forEach((item) => observer?.observe(item));
  };
  const consent = (given: boolean): void => {
    if (given === allowed) return;
    allowed = given;
    if (given) {
      guest = read(GUEST) ?? crypto.randomUUID();
      write(GUEST, guest);
      hold();
      adopt();
      observer = new IntersectionObserver(onView, { threshold: 0.5 });
      watch();
      document.addEventListener("click", onClick, true);
      document.addEventListener("visibilitychange", onHidden);
      addEventListener("pagehide", onLeave);
      addEventListener("pageshow", onReturn);
      addEventListener("online", sendNow);
      return;
    }
    observer?.disconnect();
    document.removeEventListener("click", onClick, true);
    document.removeEventListener("visibilitychange", onHidden);
    removeEventListener("pagehide", onLeave);
    removeEventListener("pageshow", onReturn);
    removeEventListener("online", sendNow);
    inView.forEach((waiting) => clearTimeout(waiting));
    clearTimeout(timer);
    [guest, token, user, queue, reported, due, failures] = [null, undefined, undefined, [], new Set(), Infinity, 0];
    inView.clear();
    seen.clear();
    leave?.();
    write(GUEST, null);
    names().forEach((name) => write(name, null));
  };
  const identify = async (): Promise<void> => {
    putSeen();
    leaving = true;
    await flush();
    leaving = false;
    token = user = undefined;
    queue.forEach((event) => (event.by ||= undefined));
    keep();
    if (queue.length) plan(LINGER);
  };
  consent(options.consent ?? false);
  return {
    guestId: () => guest,
    consent,
    track: put,
    view: (itemId) => put({ type: "VIEW", itemId }),
    watch,
    flush,
    identify,
  };
}

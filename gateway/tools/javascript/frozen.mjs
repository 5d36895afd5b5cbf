// What an interpreter offers and a plugin has not. The build keeps a running interpreter, so these would answer the
// moment of the build, the same "random" numbers for ever, or nothing at all.
const CLOCK = 'the only clock is event.time: new Date(event.time)';
const CHANCE = 'a call is a function of its input: derive what must differ from event.id';
const NETWORK = 'a plugin has no network: return a request in `deliveries`, or ask through integration:plugin/exchange';
const TIMER = 'a call ends when it returns: nothing runs later';

function absent(name, instead) {
  throw new Error(`${name} is not there: ${instead}`);
}

const refusing = (name, instead) => () => absent(name, instead);

const BuiltDate = Date;
class EventDate extends BuiltDate {
  constructor(...given) {
    if (given.length === 0) absent('new Date() without a time', CLOCK);
    super(...given);
  }
}
const replaced = new Proxy(EventDate, { apply: () => absent('Date()', CLOCK) });
Object.defineProperty(EventDate, 'name', { value: 'Date' });
// A copy of a date is made with its constructor.
Object.defineProperty(EventDate.prototype, 'constructor', { value: replaced, writable: true, configurable: true });
EventDate.now = refusing('Date.now()', CLOCK);
globalThis.Date = replaced;

Math.random = refusing('Math.random()', CHANCE);

const define = (object, name, value) =>
  Object.defineProperty(object, name, { value, writable: true, configurable: true });

define(globalThis, 'crypto', {
  getRandomValues: refusing('crypto.getRandomValues()', CHANCE),
  randomUUID: refusing('crypto.randomUUID()', CHANCE),
});
define(globalThis, 'performance', { now: refusing('performance.now()', CLOCK) });
for (const name of ['fetch', 'WebSocket', 'XMLHttpRequest', 'EventSource']) {
  define(globalThis, name, function () { absent(name, NETWORK); });
}
for (const name of ['setTimeout', 'setInterval', 'setImmediate']) {
  define(globalThis, name, refusing(`${name}()`, TIMER));
}
if (globalThis.Temporal) {
  const now = new Proxy({}, { get: () => refusing('Temporal.Now', CLOCK) });
  Object.defineProperty(globalThis.Temporal, 'Now', { value: now });
}

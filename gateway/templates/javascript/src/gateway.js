// What a plugin needs of the gateway's interface: events in, requests and returned fields out.
// It came with `gateway plugin new`; take it over whole from a newer one rather than edit it.

/** @typedef {import('../types/plugin').wit.Event} WireEvent */
/** @typedef {import('../types/plugin').wit.Part} Part */
/**
 * What of a value is no sealed field: that cannot be returned.
 * @template T
 * @typedef {T extends import('../types/plugin').Sealed ? never : { [K in keyof T]: Readable<T[K]> }} Readable
 */

/** A failure that the gateway understands; anything else that is thrown ends the call as a fault. */
export class Failure extends Error {
  /**
   * @param {'rejected' | 'unavailable'} tag
   * @param {string} message
   */
  constructor(tag, message) {
    super(message);
    this.payload = { tag, val: message };
  }
}

/** Will never work; not tried again. @param {string} message */
export const rejected = (message) => new Failure('rejected', message);
/** May work later; tried again. @param {string} message */
export const unavailable = (message) => new Failure('unavailable', message);

/** @returns {never} */
const unreadable = () => {
  throw new TypeError('a sealed field has no value in here: place it in a request, or declare it with access = "read"');
};

/** A field that can be placed in a request and not read. `event.sealed(path)` gives one. */
export class Sealed {
  /** @param {string} path */
  constructor(path) {
    /** The path that the manifest declares. */
    this.path = path;
    Object.freeze(this);
  }
  toString() { return unreadable(); }
  toJSON() { return unreadable(); }
  [Symbol.toPrimitive]() { return unreadable(); }
  [Symbol.iterator]() { return unreadable(); }
}

/** A readable field that the gateway shall place: it encodes it, and the ledger names it. */
export class Field {
  /** @param {string} path */
  constructor(path) {
    this.path = path;
  }
}
/** @param {string} path */
export const field = (path) => new Field(path);

/** Text and fields in the order in which they stand. */
export class Parts {
  constructor() {
    /** @type {Part[]} */
    this.parts = [];
  }
  /** Adds text as it stands. @param {string} text */
  text(text) {
    const last = this.parts.at(-1);
    if (last?.tag === 'text') last.val += text;
    else if (text !== '') this.parts.push({ tag: 'text', val: text });
    return this;
  }
  /** Adds a field. @param {Sealed | Field} field */
  field(field) {
    this.parts.push({ tag: 'field', val: field.path });
    return this;
  }
  /** For tests: a field is its path in braces. */
  toString() {
    return this.parts.map((part) => (part.tag === 'text' ? part.val : `{${part.val}}`)).join('');
  }
}

/**
 * A JSON body in which fields stand as whole values. Members that are undefined are left out.
 * @param {unknown} value
 */
export function json(value) {
  const parts = new Parts();
  write(parts, value);
  return parts;
}

/** @param {Parts} parts @param {unknown} value */
function write(parts, value) {
  if (value instanceof Sealed || value instanceof Field) parts.field(value);
  else if (Array.isArray(value)) {
    parts.text('[');
    value.forEach((item, index) => {
      if (index > 0) parts.text(',');
      write(parts, item);
    });
    parts.text(']');
  } else if (value !== null && typeof value === 'object') {
    parts.text('{');
    let first = true;
    for (const [name, member] of Object.entries(value)) {
      if (member === undefined) continue;
      parts.text(`${first ? '' : ','}${JSON.stringify(name)}:`);
      write(parts, member);
      first = false;
    }
    parts.text('}');
  } else parts.text(JSON.stringify(value ?? null));
}

/** @param {string | Sealed | Field | Parts} value */
function partsOf(value) {
  if (value instanceof Parts) return value;
  return typeof value === 'string' ? new Parts().text(value) : new Parts().field(value);
}

/** A request to an endpoint of the manifest. */
class Request {
  /** @param {string} endpoint */
  constructor(endpoint) {
    /** @type {import('../types/plugin').wit.Request} */
    this.wire = { endpoint, path: [], headers: [], body: [] };
  }
  /** Fills the slot `{name}` of the endpoint's path. @param {string} name @param {string | Sealed | Field | Parts} value */
  path(name, value) {
    this.wire.path.push([name, partsOf(value).parts]);
    return this;
  }
  /** Sets a header that the endpoint declares. @param {string} name @param {string | Sealed | Field | Parts} value */
  header(name, value) {
    this.wire.headers.push([name, partsOf(value).parts]);
    return this;
  }
  /** Sets the body. @param {string | Sealed | Field | Parts} body */
  body(body) {
    this.wire.body = partsOf(body).parts;
    return this;
  }
}
/** @param {string} endpoint */
export const request = (endpoint) => new Request(endpoint);

/** What a call gives back: requests for the partner, fields for the brand. */
class Outcome {
  constructor() {
    /** @type {import('../types/plugin').wit.Outcome} */
    this.wire = { deliveries: [], returns: '{}' };
  }
  /** Asks for one more delivery. @param {Request} request */
  deliver(request) {
    this.wire.deliveries.push(request.wire);
    return this;
  }
  /**
   * Returns fields to the brand, in the shape of the manifest's `returns`.
   * @template {object} T
   * @param {T & Readable<T>} fields
   */
  returning(fields) {
    this.wire.returns = JSON.stringify(fields);
    return this;
  }
}
export const outcome = () => new Outcome();

/** @param {WireEvent} wire */
function eventOf(wire) {
  return {
    id: wire.id,
    type: wire.kind,
    /** RFC 3339; the only clock. */
    time: wire.time,
    /** The partner's pseudonym for the consumer, where granted. */
    consumer: wire.consumer,
    /** The readable fields. */
    data: JSON.parse(wire.fields),
    /** The connection's settings. */
    settings: JSON.parse(wire.settings),
    /** @param {string} path */
    sealed: (path) => (wire.sealed.includes(path) ? new Sealed(path) : undefined),
  };
}

/**
 * The `share` hook.
 * @param {(event: any) => Outcome} handler
 */
export const onShare = (handler) => ({
  /** @param {WireEvent} event */
  onEvent: (event) => handler(eventOf(event)).wire,
});

/**
 * The `decide` hook; what the handler returns is in the shape of the manifest's `returns`.
 * @param {(slot: string, event: any) => object} handler
 */
export const onDecide = (handler) => ({
  /** @param {string} slot @param {WireEvent} event */
  decide: (slot, event) => JSON.stringify(handler(slot, eventOf(event))),
});

/**
 * The `receive` hook.
 * @param {(message: { id: string, time: string, consumer?: string, body: any, settings: any }) => Outcome} handler
 */
export const onReceive = (handler) => ({
  /** @param {import('../types/plugin').wit.Message} message */
  onMessage: (message) =>
    handler({ ...message, body: JSON.parse(message.body), settings: JSON.parse(message.settings) }).wire,
});

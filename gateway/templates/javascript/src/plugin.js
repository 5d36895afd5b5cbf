// Sends who ended a chat to our CRM, and gives the brand a greeting.
import { json, onShare, outcome, request } from './gateway.js';

/** @typedef {import('../types/plugin').EventOf<'chat.ended'>} ChatEnded */

export const share = onShare((/** @type {ChatEnded} */ event) => {
  // Withheld and never provided look the same: undefined.
  const email = event.sealed('/contact/email');
  if (email === undefined) return outcome();

  const name = event.data.contact?.name?.first;
  // The gateway writes the address where `email` stands, outside of the sandbox.
  const lead = json({ at: event.time, name, email });
  return outcome()
    .deliver(request('leads').body(lead))
    .returning({ greeting: name === undefined ? 'Hello' : `Hello ${name}` });
});

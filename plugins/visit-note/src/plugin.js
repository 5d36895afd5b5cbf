// Writes a note into the front desk's book. The e-mail address is sealed: the note has a place for it, which the
// gateway fills in.
import { write } from 'integration:plugin/log@0.1.0';

const text = (val) => ({ tag: 'text', val });
const field = (path) => ({ tag: 'field', val: path });

export const share = {
  onEvent(event) {
    const fields = JSON.parse(event.fields);
    // RFC 3339 begins with the day.
    const day = event.time.slice(0, 10);
    const greeting = fields.contact?.name?.first ?? 'a visitor';
    write('debug', 'one note');
    return {
      deliveries: [
        {
          endpoint: 'notes',
          path: [['day', [text(day)]]],
          headers: [],
          body: [
            text(`{"note":${JSON.stringify(`${greeting} left an address`)},"at":${JSON.stringify(event.time)},"email":`),
            field('/contact/email'),
            text('}'),
          ],
        },
      ],
      returns: '{}',
    };
  },
};

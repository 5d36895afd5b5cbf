"""Sends who ended a chat to our CRM, and gives the brand a greeting."""

from gateway_plugin import ChatEnded, Event, Outcome, Request, json_body, share


def on_event(event: Event[ChatEnded]) -> Outcome:
    # Withheld and never provided look the same: None.
    email = event.sealed("/contact/email")
    if email is None:
        return Outcome()

    contact = event.data.contact
    name = contact.name.first if contact and contact.name else None
    lead = {"at": event.time, "email": email}
    if name is not None:
        lead["name"] = name
    # The gateway writes the address where `email` stands, outside of the sandbox.
    outcome = Outcome().deliver(Request("leads").body(json_body(lead)))
    return outcome.returning({"greeting": f"Hello {name}" if name else "Hello"})


# The gateway calls the class of the hook's name.
Share = share(on_event)

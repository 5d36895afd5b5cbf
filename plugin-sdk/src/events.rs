//! One type for each event type of the gateway's catalogue. Data only; every field may be absent.

use serde::Deserialize;

use crate::EventType;

/// Declares a record whose fields may all be absent.
macro_rules! record {
    ($(#[$attribute:meta])* $name:ident $(= $type:literal)? { $($(#[$doc:meta])* $field:ident: $of:ty,)* }) => {
        $(#[$attribute])*
        #[derive(Clone, Debug, Default, PartialEq, Deserialize)]
        #[serde(default)]
        pub struct $name {
            $($(#[$doc])* pub $field: Option<$of>,)*
        }

        $(impl EventType for $name {
            const TYPE: &str = $type;
        })?
    };
}

record! {
    /// `page.viewed`: a consumer looks at a page. The fields of a [`Visit`] are at the top level.
    PageViewed = "page.viewed" {
        /// Address of the page.
        url: String,
        /// Its title.
        title: String,
        /// The page before.
        referrer: String,
        /// Seconds.
        seconds_on_page: f64,
        /// IP address.
        ip: String,
        /// Browser and version.
        browser: String,
        /// Operating system and version.
        os: String,
        /// For example `phone`.
        device_type: String,
        /// Rough location.
        location: Place,
    }
}

record! {
    /// `contact.provided`: a consumer says how to be reached.
    ContactProvided = "contact.provided" {
        /// Name and addresses.
        contact: Contact,
    }
}

record! {
    /// `chat.message`: a conversation so far.
    ChatMessage = "chat.message" {
        /// Pseudonymous id of the conversation.
        conversation: String,
        /// For example `web` or `sms`.
        channel: String,
        /// What was said, oldest first.
        transcript: Vec<Turn>,
        /// Name and addresses.
        contact: Contact,
        /// The visit it belongs to.
        visit: Visit,
    }
}

record! {
    /// `chat.ended`: a whole conversation.
    ChatEnded = "chat.ended" {
        /// Pseudonymous id of the conversation.
        conversation: String,
        /// For example `web` or `sms`.
        channel: String,
        /// What was said, oldest first.
        transcript: Vec<Turn>,
        /// Name and addresses.
        contact: Contact,
        /// The visit it belongs to.
        visit: Visit,
    }
}

record! {
    /// `sms.received`: a text message of a consumer.
    SmsReceived = "sms.received" {
        /// The message.
        text: String,
        /// The number it came from.
        phone: String,
    }
}

record! {
    /// `call.recorded`: a telephone call.
    CallRecorded = "call.recorded" {
        /// Address of the recording.
        recording: String,
        /// What was said, transcribed.
        text: String,
        /// The consumer's number.
        phone: String,
    }
}

record! {
    /// `survey.completed`: answers of a consumer.
    SurveyCompleted = "survey.completed" {
        /// Pseudonymous id of the conversation that it is about.
        conversation: String,
        /// The rating given.
        rating: f64,
        /// The answers, in the order of the questions.
        answers: Vec<Answer>,
    }
}

record! {
    /// `purchase.completed`: a consumer bought something.
    PurchaseCompleted = "purchase.completed" {
        /// Pseudonymous id of the order.
        order: String,
        /// What was bought.
        items: Vec<Item>,
        /// In units of [`currency`](Self::currency).
        total: f64,
        /// ISO 4217.
        currency: String,
    }
}

record! {
    /// `device.reported`: what an app says about its device.
    DeviceReported = "device.reported" {
        /// Unique id of the device.
        device_id: String,
        /// Operating system and version.
        os: String,
        /// Model of the device.
        model: String,
        /// Precise location.
        location: Position,
    }
}

record! {
    /// `media.shared`: a consumer shares a photo, a video, a sound.
    MediaShared = "media.shared" {
        /// For example `photo`.
        kind: String,
        /// Where it is.
        url: String,
    }
}

record! {
    /// `forum.posted`: a public post. The platform's own brand only.
    ForumPosted = "forum.posted" {
        /// The post.
        text: String,
    }
}

record! {
    /// `support.requested`. The platform's own brand only.
    SupportRequested = "support.requested" {
        /// Name and addresses.
        contact: Contact,
        /// The request.
        text: String,
    }
}

record! {
    /// `promotion.entered`. The platform's own brand only.
    PromotionEntered = "promotion.entered" {
        /// Name and addresses.
        contact: Contact,
        /// The entry.
        text: String,
    }
}

record! {
    /// `application.submitted`: a job application. The platform's own brand only.
    ApplicationSubmitted = "application.submitted" {
        /// Name and addresses.
        contact: Contact,
        /// The application.
        text: String,
    }
}

record! {
    /// How to reach a consumer.
    Contact {
        /// The consumer's name.
        name: Name,
        /// E-mail address.
        email: String,
        /// Telephone number.
        phone: String,
        /// Where the consumer works.
        company: String,
    }
}

record! {
    /// A person's name.
    Name {
        /// Given name.
        first: String,
        /// Family name.
        last: String,
    }
}

record! {
    /// What is known of a visit to a site.
    Visit {
        /// IP address.
        ip: String,
        /// Browser and version.
        browser: String,
        /// Operating system and version.
        os: String,
        /// For example `phone`.
        device_type: String,
        /// Rough location.
        location: Place,
    }
}

record! {
    /// A rough location.
    Place {
        /// City.
        city: String,
        /// ISO 3166 country.
        country: String,
    }
}

record! {
    /// A precise location, WGS 84.
    Position {
        /// Degrees north.
        lat: f64,
        /// Degrees east.
        lon: f64,
    }
}

record! {
    /// One thing said in a conversation.
    Turn {
        /// `consumer`, `agent`, …
        speaker: String,
        /// What was said.
        text: String,
        /// RFC 3339.
        at: String,
    }
}

record! {
    /// One answer of a survey.
    Answer {
        /// The question.
        question: String,
        /// The answer.
        answer: String,
    }
}

record! {
    /// One line of a purchase.
    Item {
        /// What it is.
        name: String,
        /// How many, or how much.
        quantity: f64,
    }
}

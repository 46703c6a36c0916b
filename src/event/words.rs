//! The open enums of BIK §2: known values, and any other text unchanged.

use std::fmt;

use crate::names::names;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $word:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$word_doc])* $word,)*
            /// Any other text, unchanged.
            Other(String),
        }

        impl $name {
            /// The known values, in their canonical form.
            pub const KNOWN: &'static [&'static str] = &[$($text),*];

            /// Returns the canonical form of a known value; any other text unchanged.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$word => $text,)*
                    Self::Other(text) => text,
                }
            }
        }

        /// Recognises known values in upper, lower and mixed case; never fails.
        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                $(if text.eq_ignore_ascii_case($text) {
                    return Self::$word;
                })*
                Self::Other(text.to_owned())
            }
        }

        /// Prints known values only, because any other text may be personal data.
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$word => f.write_str(stringify!($word)),)*
                    Self::Other(_) => f.write_str("Other(..)"),
                }
            }
        }
    };
}

words! {
    /// `status`: the delivery status of a sent message.
    Status {
        /// BIK handed the message to the channel.
        Sent = "sent",
        /// The message reached a device of the customer.
        Delivered = "delivered",
        /// The customer opened the message.
        Read = "read",
        /// The message was not delivered; a later `delivered` is possible (BIK §4).
        Failed = "failed",
        /// The customer played a voice message.
        Played = "played",
        /// The message was deleted after it was sent.
        Deleted = "deleted",
        /// The message failed: the carrier of an SMS did not deliver it.
        Undelivered = "undelivered",
        /// The message failed: the mail server of the customer returned it.
        Bounced = "bounced",
    }
}

impl Status {
    /// Returns whether the status reports that the message failed.
    pub const fn is_failure(&self) -> bool {
        matches!(self, Self::Failed | Self::Undelivered | Self::Bounced)
    }
}

words! {
    /// `owner`: who sent a message.
    Owner {
        /// An agent in BIK's inbox.
        Agent = "AGENT",
        /// The merchant; its category is `crm`.
        Merchant = "MERCHANT",
        /// A broadcast that is not a test.
        Campaign = "CAMPAIGN",
        /// A test broadcast: excluded from delivery figures by default (BIK T14).
        TestCampaign = "TEST_CAMPAIGN",
        /// A BIK automation (a bot).
        Bot = "BOT",
        /// A caller of BIK's send API.
        DevApi = "DEV_API",
    }
}

words! {
    /// `channelId`, or `channel` of a subscribed event.
    Channel {
        Whatsapp = "whatsapp",
        Email = "email",
        Sms = "sms",
        Instagram = "instagram",
        Messenger = "messenger",
        Rcs = "rcs",
        Webpush = "webpush",
    }
}

names! {
    /// BIK's category of an owner (BIK §2). The names are those in the configuration.
    pub enum Category {
        /// The owners `AGENT` and `MERCHANT`.
        Crm = "crm",
        /// The owners `CAMPAIGN` and `TEST_CAMPAIGN`.
        Broadcast = "broadcast",
        /// Only the owner `BOT`.
        Automation = "automation",
        /// Only the owner `DEV_API`.
        DevApi = "dev_api",
    }
}

impl Owner {
    /// Returns BIK's category. `None` for an unknown owner.
    pub const fn category(&self) -> Option<Category> {
        match self {
            Self::Agent | Self::Merchant => Some(Category::Crm),
            Self::Campaign | Self::TestCampaign => Some(Category::Broadcast),
            Self::Bot => Some(Category::Automation),
            Self::DevApi => Some(Category::DevApi),
            Self::Other(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_words_are_read_in_any_case_and_shown_in_canonical_form() {
        type Shown = fn(&str) -> String;
        let shown: [(&[&str], Shown); 3] = [
            (Status::KNOWN, |text| Status::from(text).as_str().to_owned()),
            (Owner::KNOWN, |text| Owner::from(text).as_str().to_owned()),
            (Channel::KNOWN, |text| Channel::from(text).as_str().to_owned()),
        ];
        for (known, shown) in shown {
            for word in known {
                for text in [word.to_lowercase(), word.to_uppercase()] {
                    assert_eq!(shown(&text), *word);
                }
            }
        }
        assert_eq!(Status::from("READ"), Status::Read);
        assert_eq!(Channel::from("WhatsApp"), Channel::Whatsapp);
    }

    #[test]
    fn failed_undelivered_and_bounced_are_failures() {
        let failures: Vec<&str> =
            Status::KNOWN.iter().copied().filter(|word| Status::from(*word).is_failure()).collect();
        assert_eq!(failures, ["failed", "undelivered", "bounced"]);
        assert!(Status::from("Undelivered").is_failure() && !Status::from("queued").is_failure());
    }

    #[test]
    fn an_unknown_word_keeps_its_text_but_debug_does_not_print_it() {
        let status = Status::from("Queued +919090909090");
        assert_eq!(status.as_str(), "Queued +919090909090");
        assert_eq!(format!("{status:?}"), "Other(..)");
    }

    #[test]
    fn owners_have_the_categories_of_biks_page() {
        assert_eq!(Owner::Agent.category(), Some(Category::Crm));
        assert_eq!(Owner::Merchant.category(), Some(Category::Crm));
        assert_eq!(Owner::Campaign.category(), Some(Category::Broadcast));
        assert_eq!(Owner::TestCampaign.category(), Some(Category::Broadcast));
        assert_eq!(Owner::Bot.category(), Some(Category::Automation));
        assert_eq!(Owner::DevApi.category(), Some(Category::DevApi));
        assert_eq!(Owner::from("ROBOT").category(), None);
        assert!(Owner::KNOWN.iter().all(|word| Owner::from(*word).category().is_some()));
        for category in Category::ALL {
            assert_eq!(Category::from_name(category.as_str()), Some(category));
        }
    }
}

//! The open enums of BIK §2: known words, and any other kept as it came. Known words are read in any case.

macro_rules! open_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
            /// Any other word, as it came.
            Other(Box<str>),
        }

        impl $name {
            /// Reads a word.
            pub fn new(word: &str) -> Self {
                $(if word.eq_ignore_ascii_case($word) { return Self::$variant; })*
                Self::Other(word.into())
            }

            /// The word: BIK's spelling of a known one, any other as it came.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $word,)*
                    Self::Other(word) => word,
                }
            }
        }
    };
}

open_enum! {
    /// `status` of a sent message. BIK names the first four; WhatsApp knows two more.
    Status {
        /// Taken by the channel.
        Sent = "sent",
        /// On the customer's device.
        Delivered = "delivered",
        /// Opened by the customer.
        Read = "read",
        /// Not delivered; see `failureReason`.
        Failed = "failed",
        /// A voice message was played.
        Played = "played",
        /// The message was deleted.
        Deleted = "deleted",
    }
}

open_enum! {
    /// `owner`: who sent a message.
    Owner {
        /// A person of the merchant, in the inbox.
        Agent = "AGENT",
        /// The merchant, in the inbox.
        Merchant = "MERCHANT",
        /// A broadcast.
        Campaign = "CAMPAIGN",
        /// A test of a broadcast.
        TestCampaign = "TEST_CAMPAIGN",
        /// An automation.
        Bot = "BOT",
        /// The developer API.
        DevApi = "DEV_API",
    }
}

open_enum! {
    /// `channelId`.
    Channel {
        /// WhatsApp.
        Whatsapp = "whatsapp",
        /// E-mail.
        Email = "email",
        /// SMS.
        Sms = "sms",
        /// Instagram.
        Instagram = "instagram",
        /// Facebook Messenger.
        Messenger = "messenger",
        /// RCS.
        Rcs = "rcs",
        /// Web push.
        Webpush = "webpush",
    }
}

/// BIK's category of an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Category {
    /// CRM: AGENT, MERCHANT.
    Crm,
    /// Broadcast: CAMPAIGN, TEST_CAMPAIGN.
    Broadcast,
    /// Automation: BOT.
    Automation,
    /// Dev API: DEV_API.
    DevApi,
}

impl Category {
    /// As written in a configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Crm => "crm",
            Self::Broadcast => "broadcast",
            Self::Automation => "automation",
            Self::DevApi => "dev_api",
        }
    }
}

impl Owner {
    /// BIK's category of it (the page's table "Category to owner mapping"); `None` for an unknown owner.
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

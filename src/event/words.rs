//! The open enums of BIK §2: known words, and any other kept as it came.

/// `status`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// Any other.
    Other(String),
}

/// `owner`: who sent a message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// Any other.
    Other(String),
}

/// BIK's category of an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Category {
    /// AGENT, MERCHANT.
    Crm,
    /// CAMPAIGN, TEST_CAMPAIGN.
    Broadcast,
    /// BOT.
    Automation,
    /// DEV_API.
    DevApi,
}

/// `channelId`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    /// Any other.
    Other(String),
}

//! The content of a message as people read it: its text, what the customer chose, or a short description. The page, the
//! command line, the API and the log show this content.
//!
//! BIK does not document the shape of the fields for content other than text. This module expects WhatsApp's shapes.
//! Some kinds of content have a field of their own in `eventInfo`, such as `location`. If this field is absent, or if
//! the kind has none, this module looks in `messageInformation`. If a field has another shape, the description has less
//! detail. The event itself keeps everything.

use std::{borrow::Cow, fmt};

use super::{info::Info, sent::Raw, undocumented::Undocumented};
use crate::plural::counted;

/// The content of a message. Its `Display` output joins the label and the text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageContent<'a> {
    /// The kind of the content, such as `image` or `order of 2 items`; no personal data. `None` if the text alone is
    /// the content, as for an ordinary message and for a choice.
    pub label: Option<Cow<'static, str>>,
    /// The text, the title of what the customer chose, the caption, or another detail.
    pub text: Option<Cow<'a, str>>,
}

/// The members that contain the reply to a list or to buttons.
const REPLIES: [&str; 7] =
    ["button_reply", "list_reply", "buttonReply", "listReply", "interactive", "button", "quick_reply"];
/// The members that contain the reply to a flow (a form).
const FLOW_REPLIES: [&str; 2] = ["nfm_reply", "nfmReply"];
/// The members of `messageInformation` that contain a media file.
const MEDIA: [&str; 6] = ["image", "video", "audio", "voice", "document", "sticker"];

impl<'a> MessageContent<'a> {
    /// Describes the content of one info.
    pub(super) fn of(info: &'a Info<'_>) -> Self {
        if info.is_deleted == Some(true) {
            return Self::of_kind("deleted message", None);
        }
        let text = info.message.as_deref().filter(|text| !text.trim().is_empty()).map(Cow::Borrowed);
        let parts = Parts::of(info);
        let described = parts
            .reaction(text.is_some())
            .or_else(|| parts.order())
            .or_else(|| parts.location())
            .or_else(|| parts.contacts())
            .or_else(|| parts.system())
            .or_else(|| parts.unsupported())
            .or_else(|| parts.flow_reply())
            .or_else(|| parts.choice())
            .or_else(|| parts.media());
        match (described, text) {
            (Some(Self { label, text: described }), text) => Self { label, text: text.or(described) },
            (None, Some(text)) => Self { label: None, text: Some(text) },
            (None, None) => Self::of_kind("message without text", None),
        }
    }

    fn of_kind(label: impl Into<Cow<'static, str>>, text: Option<Cow<'a, str>>) -> Self {
        Self { label: Some(label.into()), text }
    }
}

impl fmt::Display for MessageContent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.label, &self.text) {
            (Some(label), Some(text)) => write!(f, "{label}: {text}"),
            (Some(only), None) => f.write_str(only),
            (None, text) => f.write_str(text.as_deref().unwrap_or_default()),
        }
    }
}

/// Returns whether an info is a reaction to a message, or the removal of a reaction.
pub(super) fn is_reaction(info: &Info<'_>) -> bool {
    // Most messages have neither `type` nor `messageInformation`, so nothing is parsed for them.
    value(info.kind).and_then(Undocumented::text).is_some_and(|kind| kind.eq_ignore_ascii_case("reaction"))
        || value(info.message_information).and_then(|more| more.get("reaction")).is_some()
}

fn value(raw: Option<Raw<'_>>) -> Option<Undocumented<'_>> {
    Undocumented::of(raw.map(Raw::get))
}

fn word(raw: Raw<'_>) -> Option<String> {
    Some(value(Some(raw))?.text()?.to_lowercase())
}

/// The fields of an info that describe its content.
struct Parts<'a> {
    info: &'a Info<'a>,
    /// `type`, in lower case; empty if there is none.
    kind: String,
    /// `messageInformation`.
    more: Option<Undocumented<'a>>,
}

impl<'a> Parts<'a> {
    fn of(info: &'a Info<'a>) -> Self {
        let kind = info.kind.and_then(word).unwrap_or_default();
        Self { info, kind, more: value(info.message_information) }
    }

    /// Returns `field`, or else the member of `messageInformation` that has one of the `names`.
    fn part(&self, field: Option<Raw<'a>>, names: &[&str]) -> Option<Undocumented<'a>> {
        value(field).or_else(|| self.more?.first(names))
    }

    fn reaction(&self, has_text: bool) -> Option<MessageContent<'a>> {
        is_reaction(self.info).then(|| {
            let emoji = self.part(None, &["reaction"]).and_then(|reaction| reaction.first_text(&["emoji"]));
            let removed = emoji.is_none() && !has_text;
            MessageContent::of_kind(if removed { "reaction removed" } else { "reaction" }, emoji)
        })
    }

    fn order(&self) -> Option<MessageContent<'a>> {
        let order = self.part(self.info.order, &["order"])?;
        let items = order.first(&["product_items", "productItems", "items"]);
        let items = items.filter(|items| items.is_list()).map(|items| items.items().len() as u64);
        let items = items.filter(|items| *items > 0);
        let label =
            items.map_or("order".into(), |items| format!("order of {}", counted(items, "item", "items")));
        Some(MessageContent::of_kind(label, order.first_text(&["text"])))
    }

    fn location(&self) -> Option<MessageContent<'a>> {
        let location = self.part(self.info.location, &["location"])?;
        let coordinates = || {
            let latitude = location.first_text(&["latitude", "lat"])?;
            let longitude = location.first_text(&["longitude", "lng", "long"])?;
            Some(Cow::Owned(format!("{latitude}, {longitude}")))
        };
        let place =
            location.text().or_else(|| location.first_text(&["name", "address"])).or_else(coordinates);
        Some(MessageContent::of_kind("location", place))
    }

    fn contacts(&self) -> Option<MessageContent<'a>> {
        let contacts = self.part(None, &["contacts"])?.items();
        let name = |contact: &Undocumented<'a>| {
            let name = contact.get("name");
            name.and_then(|name| name.text().or_else(|| name.first_text(&["formatted_name", "first_name"])))
        };
        let label = match contacts.len() {
            1 => "contact".to_owned(),
            many => counted(many as u64, "contact", "contacts"),
        };
        Some(MessageContent::of_kind(label, joined(contacts.iter().filter_map(name))))
    }

    /// A message that WhatsApp itself writes about the customer, for example that the number has changed.
    fn system(&self) -> Option<MessageContent<'a>> {
        let system = self.part(None, &["system"]);
        if system.is_none() && self.kind != "system" {
            return None;
        }
        let changes = system.and_then(|system| system.first_text(&["type"]));
        let changed = changes.is_some_and(|change| change.contains("changed_number"));
        let label = if changed { "number changed" } else { "system message" };
        let text = system.and_then(|system| system.first_text(&["body", "new_wa_id", "wa_id"]));
        Some(MessageContent::of_kind(label, text))
    }

    /// A message of a type that the channel cannot pass on.
    fn unsupported(&self) -> Option<MessageContent<'a>> {
        let errors = self.part(None, &["errors", "error"]);
        if errors.is_none() && !matches!(&*self.kind, "unsupported" | "unknown") {
            return None;
        }
        let error = errors.and_then(|errors| errors.items().into_iter().next());
        let details = error.and_then(|error| error.get("error_data")?.first_text(&["details"]));
        let text = details.or_else(|| error?.first_text(&["details", "message", "title"]));
        Some(MessageContent::of_kind("unsupported message", text))
    }

    fn flow_reply(&self) -> Option<MessageContent<'a>> {
        let Info { buttons, options, body, .. } = self.info;
        let values = [value(*buttons), value(*options), value(*body), self.more];
        let nested = values.into_iter().flatten().flat_map(|one| [Some(one), one.get("interactive")]);
        let reply = nested.flatten().find_map(|one| one.first(&FLOW_REPLIES))?;
        Some(MessageContent::of_kind("flow reply", reply.first_text(&["title", "body", "name"])))
    }

    /// The title of the button or the list row that the customer chose.
    fn choice(&self) -> Option<MessageContent<'a>> {
        let Info { buttons, options, body, .. } = self.info;
        let chosen = [*buttons, *options, *body].into_iter().find_map(|field| chosen(value(field)?));
        let chosen = chosen.or_else(|| self::chosen(self.more?.first(&REPLIES)?))?;
        Some(MessageContent { label: None, text: Some(chosen) })
    }

    fn media(&self) -> Option<MessageContent<'a>> {
        let media = self.part(self.info.media, &MEDIA);
        let files: Vec<_> = media.map(Undocumented::items).unwrap_or_default();
        let types = files.first().and_then(|file| file.first_text(&["mime_type", "mimeType", "type"]));
        let media_type = self.info.media_type.and_then(word);
        let inside = self.more.and_then(|more| MEDIA.into_iter().find(|name| more.get(name).is_some()));
        let words = [Some(&*self.kind), media_type.as_deref(), types.as_deref(), inside];
        let words: Vec<&str> = words.into_iter().flatten().collect();
        let kind = media_kind(&words).or_else(|| (!files.is_empty()).then_some("media file"))?;
        let label = match files.len() {
            0 | 1 => kind.to_owned(),
            many => counted(many as u64, kind, &format!("{kind}s")),
        };
        let text = |names: &'static [&str]| joined(files.iter().filter_map(|file| file.first_text(names)));
        let text = text(&["caption"]).or_else(|| text(&["filename", "fileName", "name"]));
        Some(MessageContent::of_kind(label, text))
    }
}

/// Returns the title of a choice. A value that is a text is the title. The title of an object is in a reply inside it,
/// or else in the object itself. The titles of all items of a list are joined.
fn chosen(value: Undocumented<'_>) -> Option<Cow<'_, str>> {
    if value.is_list() {
        return joined(value.items().into_iter().filter_map(chosen));
    }
    let reply = value.first(&REPLIES).and_then(chosen);
    reply.or_else(|| value.first_text(&["title", "text"])).or_else(|| value.text())
}

/// Returns the kind of a media file, from the words that may name it: `type`, `mediaType`, the MIME type, and the name
/// of the file's member in `messageInformation`.
fn media_kind(words: &[&str]) -> Option<&'static str> {
    let any = |starts: &[&str]| words.iter().any(|word| starts.iter().any(|start| word.starts_with(start)));
    let is_audio = any(&["audio"]);
    // WhatsApp records voice messages with the codec Opus; other audio files have another codec.
    let is_voice = any(&["voice", "ptt"]) || (is_audio && words.iter().any(|word| word.contains("opus")));
    Some(match () {
        () if any(&["sticker"]) => "sticker",
        () if is_voice => "voice message",
        () if is_audio => "audio file",
        () if any(&["image"]) => "image",
        () if any(&["video"]) => "video",
        () if any(&["document", "application/", "text/", "file"]) => "document",
        () => return None,
    })
}

fn joined<'a>(texts: impl Iterator<Item = Cow<'a, str>>) -> Option<Cow<'a, str>> {
    let mut texts: Vec<_> = texts.collect();
    match texts.len() {
        0 | 1 => texts.pop(),
        _ => Some(Cow::Owned(texts.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use crate::event::{Element, decode};

    fn shown(raw: &str) -> String {
        let element = Element::read(raw.as_bytes()).unwrap();
        let view = element.view();
        let contents = view.facts().filter_map(|fact| fact.content());
        contents.map(|content| content.to_string()).collect::<Vec<_>>().join(" | ")
    }

    fn of_case(name: &str) -> Vec<String> {
        let body = std::fs::read(format!("fixtures/cases/{name}.json")).unwrap();
        let drafts = decode(&"bik".into(), &body).unwrap().drafts;
        drafts.iter().map(|draft| shown(draft.element.raw())).collect()
    }

    #[test]
    fn every_payload_is_shown_by_its_text_choice_or_description() {
        for (name, text) in [
            ("payload-01-button-reply", "Yes, confirm"),
            ("payload-02-list-reply", "Priority Mail Express"),
            ("payload-03-list-reply-in-body", "Blue, size M"),
            ("payload-04-quick-reply-template", "Stop promotions"),
            ("payload-05-flow-nfm", "flow reply: Sent"),
            ("payload-06-order", "order of 2 items: Love these!"),
            ("payload-07-location", "location: Café Example ☕"),
            ("payload-08-image-caption", "image: Is this in stock?"),
            ("payload-09-voice", "voice message"),
            ("payload-10-document-many", "2 documents: Réçu №1 .pdf"),
            ("payload-11-sticker", "sticker"),
            ("payload-12-contacts", "contact: Meena K. Pillai"),
            ("payload-13-reaction", "reaction: 👩\u{200d}👩\u{200d}👧\u{200d}👦"),
            ("payload-14-reaction-removed", "reaction removed"),
            ("payload-15-referral-ctwa", "Tell me more"),
            ("payload-16-unsupported", "unsupported message: Message type is currently not supported."),
            (
                "payload-17-system-number-changed",
                "number changed: User Asha changed from 919810000300 to 919810000399",
            ),
            ("payload-18-group-message", "in the group"),
            ("payload-19-lid", "lid"),
            ("payload-20-bsuid", "bsuid"),
            ("payload-21-instagram-scoped-id", "dm"),
        ] {
            assert_eq!(of_case(name), [text], "{name}");
        }
        assert_eq!(of_case("f07-edited-message"), ["please send to Pune", "please send to Mumbai"]);
        assert_eq!(of_case("f08-deleted-message"), ["my card is 4111 1111 1111 1111", "deleted message"]);
    }

    #[test]
    fn contents_in_other_shapes_are_described_as_far_as_known() {
        for (members, text) in [
            (r#""message":" ""#, "message without text"),
            (r#""message":"Hi","type":"text","buttons":[],"media":"","location":null"#, "Hi"),
            (r#""message":"Hi","type":"text","mediaType":"text","options":{}"#, "Hi"),
            (r#""location":{"latitude":1.50,"longitude":-2}"#, "location: 1.50, -2"),
            (r#""order":"o-1""#, "order"),
            (r#""order":{"product_items":[{"quantity":2}]}"#, "order of 1 item"),
            (r#""type":"VIDEO""#, "video"),
            (r#""media":{"mime_type":"application/pdf","filename":"a.pdf"}"#, "document: a.pdf"),
            (r#""media":[{"x":1},{"x":2}]"#, "2 media files"),
            (r#""media":[]"#, "message without text"),
            (r#""messageInformation":{"image":{"caption":"Look"}}"#, "image: Look"),
            (
                r#""messageInformation":{"interactive":{"type":"button_reply","button_reply":{"title":"No"}}}"#,
                "No",
            ),
            (r#""messageInformation":{"interactive":{"nfm_reply":{"name":"flow"}}}"#, "flow reply: flow"),
            (r#""messageInformation":{"button":{"payload":"p","text":"Go"}}"#, "Go"),
            (r#""messageInformation":{"title":"no reply"}"#, "message without text"),
            (r#""messageInformation":7,"type":8,"media":9"#, "media file"),
            (
                r#""messageInformation":{"contacts":[{"name":"A"},{"name":{"first_name":"B"}}]}"#,
                "2 contacts: A, B",
            ),
            (r#""type":"reaction","message":"❤""#, "reaction: ❤"),
            (r#""type":"system""#, "system message"),
            (r#""message":"secret","isDeleted":true"#, "deleted message"),
        ] {
            let raw = format!(r#"{{"eventName":"incoming-message","eventInfo":{{{members}}}}}"#);
            assert_eq!(shown(&raw), text, "{members}");
        }
        let sent = r#"{"eventName":"message-status-update","eventInfo":[{"message":"a","type":"image"},{"message":"b"}]}"#;
        assert_eq!(shown(sent), "a | b");
        for other in [
            r#"{"eventName":"linkClicked","eventInfo":{"message":"a"}}"#,
            r#"{"eventName":"x","eventId":"1"}"#,
        ] {
            assert_eq!(shown(other), "");
        }
    }
}

//! The contract, with a RabbitMQ; and what is the kind's own.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    contract::{Arrival, Destination, hold_to},
    support::{
        events::status,
        servers::rabbitmq::{MAX_MESSAGE_BYTES, RabbitMq, Received},
    },
};

/// A broker, and what was taken out of its queues: an exchange with a queue for each scene.
struct Broker {
    server: RabbitMq,
    taken: HashMap<String, Vec<Arrival>>,
}

impl Received {
    fn arrival(&self) -> Arrival {
        #[derive(Deserialize)]
        struct Envelope<'a> {
            key: &'a str,
            #[serde(borrow)]
            event: &'a RawValue,
        }
        let Envelope { key, event } = serde_json::from_str(&self.body).unwrap();
        assert_eq!(self.message_id(), key);
        Arrival { key: key.to_owned(), event: event.get().to_owned() }
    }

    fn message_id(&self) -> &str {
        self.properties.message_id().as_ref().unwrap().as_str()
    }
}

impl Destination for Broker {
    fn settings(&self, scene: &str) -> String {
        self.server.make_exchange(scene);
        format!("kind = \"rabbitmq\"\nurl = {:?}\nexchange = {scene:?}", self.server.url())
    }

    fn arrived(&mut self, scene: &str) -> Vec<Arrival> {
        let new = self.server.take_all(scene);
        let taken = self.taken.entry(scene.to_owned()).or_default();
        taken.extend(new.iter().map(Received::arrival));
        taken.clone()
    }

    fn kill(&mut self) {
        self.server.kill();
    }

    fn start(&mut self) {
        self.server.start();
    }

    fn poison(&self) -> Option<String> {
        Some(status(&"x".repeat(MAX_MESSAGE_BYTES), "m-poison", "sent"))
    }

    fn is_idempotent(&self) -> bool {
        false
    }
}

#[test]
fn rabbitmq_keeps_the_contract() {
    hold_to(&mut Broker { server: RabbitMq::start_new(), taken: HashMap::new() });
}

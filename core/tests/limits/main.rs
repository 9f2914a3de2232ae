//! Every bound that a peer can meet: what is at the limit goes through, what is beyond is answered with its own code; and
//! what no peer meets: the work of one call, and what the hub remembers.

#[path = "../driver/mod.rs"]
mod driver;

mod lengths;
mod memory;
mod people;
mod queues;
mod rates;
mod work;

use causerie_core::ConnectionId;
use causerie_core::limits::Limits;
use driver::Driver;
use serde_json::{Value, json};

fn with(change: impl FnOnce(&mut Limits)) -> Driver {
    let mut limits = Limits::default();
    change(&mut limits);
    Driver::new(limits)
}

fn answer(d: &mut Driver, who: ConnectionId, frame: &Value) -> Value {
    d.send(who, frame);
    let frames = d.read(who);
    frames.first().cloned().unwrap_or_default()
}

fn say(text: &str) -> Value {
    json!({ "type": "chat_message", "message": text })
}

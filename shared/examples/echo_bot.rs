//! A bot: answers every message with itself, each once, over lost connections and its own restarts.
//!
//! ```sh
//! SIMPLE_IM_PHONE=13812652250 SIMPLE_IM_PASSWORD=… cargo run -p shared --example echo_bot
//! ```
//!
//! What makes it exact: an answer's id is made from what it answers, so an answer that is sent again is the same message;
//! and a message is acknowledged only once its answer is stored, so after a crash it comes again.

use std::{env, error::Error};

use shared::{
    client::{Client, Delivery, Event, Options, SendError, http::Api},
    ids::{Device, MessageId},
    message::WantedAck,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = env::var("SIMPLE_IM_SERVER").unwrap_or_else(|_| "http://127.0.0.1:8080".to_owned());
    let (phone, password) = (env::var("SIMPLE_IM_PHONE")?, env::var("SIMPLE_IM_PASSWORD")?);
    let api = Api::any(server.split(','));
    let login = api.login(&phone, &password, Some("echo")).await?;
    // The device is the same at every start: it goes on where it was, and its ids mean the same.
    let options = Options { auto_ack: false, ..Options::of_login(&api, &login, Device::new("echo")?) };
    let (client, mut events) = Client::connect(options).await?;
    eprintln!("user {} echoes", client.user());
    while let Some(event) = events.next().await {
        match event {
            Event::Delivery(delivery) => {
                answer(&client, &delivery).await?;
                client.ack(&delivery).await?;
            }
            Event::Replaced => return Err("this bot has been started elsewhere".into()),
            Event::LoginRefused(refused) => return Err(refused.into()),
            // Lost connections: the client comes back by itself.
            _ => {}
        }
    }
    Ok(())
}

/// Answers a message of somebody else.
async fn answer(client: &Client, delivery: &Delivery) -> Result<(), Box<dyn Error>> {
    let (Some(text), false) = (delivery.text(), delivery.from == client.user()) else { return Ok(()) };
    let id = MessageId::new(&format!("echo-{}-{}", delivery.conversation, delivery.seq))?;
    let to = delivery.answer_to(client.user());
    match client.begin_with(id, to, text, WantedAck::Stored).await?.await {
        Ok(_) => Ok(()),
        // Blocked, or no longer a member: nothing that trying again would change.
        Err(SendError::Refused(refused)) => {
            eprintln!("no answer to {}: {refused}", delivery.from);
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

//! A desired value over the node's bus.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use longshore_types::{
    DeviceName,
    topic::{DeviceEvent, Topic},
};
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use serde_json::{Map, Value as Json, json};

use crate::output::advised;

/// Time for the node to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Who one is on a bus that asks for it.
const USER: &str = "LONGSHORE_BUS_USER";
const PASSWORD: &str = "LONGSHORE_BUS_PASSWORD";

/// Makes values desired; the node's answer is awaited.
pub(super) async fn set(address: &str, device: &DeviceName, values: &[(&str, &str)]) -> Result<()> {
    let (host, port) = address
        .rsplit_once(':')
        .and_then(|(host, port)| Some((host.trim_matches(['[', ']']), port.parse().ok()?)))
        .with_context(|| format!("the node's bus has the address `{address}`"))?;
    // One that listens on all addresses is reached here.
    let host = match host {
        "0.0.0.0" => "127.0.0.1",
        "::" => "::1",
        other => other,
    };
    let id = format!("longshore-set-{}", std::process::id());
    let mut options = MqttOptions::new(id.clone(), host, port);
    options.set_keep_alive(Duration::from_secs(30));
    if let Ok(user) = std::env::var(USER) {
        options.set_credentials(user, std::env::var(PASSWORD).unwrap_or_default());
    }
    let told = tokio::time::timeout(PATIENCE, tell(options, &id, device, values)).await;
    match told {
        Ok(told) => told,
        Err(_) => bail!(
            "the bus at {address} did not answer within {} s",
            PATIENCE.as_secs()
        ),
    }
}

async fn tell(
    options: MqttOptions,
    id: &str,
    device: &DeviceName,
    values: &[(&str, &str)],
) -> Result<()> {
    let (client, mut events) = AsyncClient::new(options, 8);
    let result = Topic::device(device, DeviceEvent::TwinUpdateResult).to_string();
    client.subscribe(&result, QoS::AtLeastOnce).await?;
    let twin: Map<String, Json> = values
        .iter()
        .map(|(name, value)| ((*name).to_owned(), json!({"expected": {"value": value}})))
        .collect();
    let update = json!({"event_id": id, "twin": twin}).to_string();
    loop {
        let event = events.poll().await.map_err(|error| {
            advised(
                format!("the node's bus refuses: {error}"),
                format!("a bus with users takes {USER} and {PASSWORD} of the environment"),
            )
        })?;
        match event {
            Event::Incoming(Packet::SubAck(_)) => {
                let topic = Topic::device(device, DeviceEvent::TwinUpdate).to_string();
                client
                    .publish(topic, QoS::AtLeastOnce, false, update.clone())
                    .await?;
            }
            Event::Incoming(Packet::Publish(answer)) if answer.topic == result => {
                let answer: Json = serde_json::from_slice(&answer.payload)?;
                if answer["event_id"] != id {
                    continue;
                }
                let code = answer["code"].as_i64().unwrap_or(200);
                return match code {
                    0 | 200 => Ok(()),
                    _ => Err(anyhow!(
                        "the node refuses: {}",
                        answer["reason"].as_str().unwrap_or("no reason")
                    )),
                };
            }
            _ => {}
        }
    }
}

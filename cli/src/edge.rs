//! A node that works alone, asked itself: `--edge` in place of an API server.
//!
//! What is so is read from the node's own page on loopback, and a desired value
//! goes over its MQTT bus, as that of any other client does: whoever may not
//! publish there may not set anything here.

mod bus;
mod show;

use std::{
    net::{SocketAddr, ToSocketAddrs},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use longshore_process::http;
use longshore_types::near::nearest;
use serde_json::Value as Json;

use crate::output::{advised, emit, say};

/// Where a node's page is unless its configuration says something else.
const PAGE: &str = "127.0.0.1:10350";
/// Time between two looks at a node.
const LOOK: Duration = Duration::from_millis(300);

/// The node that is asked instead of an API server.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct EdgeArgs {
    /// Ask an edge node itself, by the address of its page (`metrics.listen`), where there is no API server
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, default_missing_value = PAGE, conflicts_with_all = ["kubeconfig", "context"])]
    edge: Option<String>,
}

impl EdgeArgs {
    /// The node, if one is to be asked.
    pub(crate) fn node(&self) -> Result<Option<Node>> {
        let Some(text) = &self.edge else {
            return Ok(None);
        };
        let found = text.to_socket_addrs();
        let page = found.ok().and_then(|mut found| found.next());
        let page = page.ok_or_else(|| {
            advised(
                format!("--edge {text}: no address, expected HOST:PORT"),
                format!("`metrics.listen` of edgecore.yaml says it; without an address, which stands last, {PAGE} is taken"),
            )
        })?;
        Ok(Some(Node { page }))
    }
}

/// An edge node.
pub(crate) struct Node {
    page: SocketAddr,
}

impl Node {
    async fn ask(&self, path: &str) -> Result<Json> {
        let answer = http::get_json(self.page, path).await.map_err(|error| {
            advised(
                format!("no edge node answers at {}: {error}", self.page),
                "is `edgecore` running, and is this its `metrics.listen`? name it with --edge ADDRESS",
            )
        })?;
        Ok(answer.unwrap_or_default())
    }

    async fn devices(&self) -> Result<Vec<Json>> {
        let answer = self.ask("/twins").await?;
        match answer["devices"].clone() {
            Json::Array(devices) => Ok(devices),
            _ => bail!("what answers at {} is no edge node", self.page),
        }
    }

    /// One device by `name`, or `namespace/name`.
    async fn device(&self, name: &str, namespace: Option<&str>) -> Result<Json> {
        let devices = self.devices().await?;
        let named = |device: &&Json| {
            let full = device["device"] == name;
            let of = namespace.is_none_or(|namespace| device["namespace"] == namespace);
            full || (of && device["name"] == name)
        };
        if let Some(device) = devices.iter().find(named) {
            return Ok(device.clone());
        }
        let known: Vec<&str> = devices
            .iter()
            .filter_map(|it| it["name"].as_str())
            .collect();
        let meant = nearest(name, known.iter().copied())
            .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        Err(advised(
            format!("device `{name}` is not on the node at {}{meant}", self.page),
            match known.is_empty() {
                true => "it has no devices: they stand in its folder of `manifests`".to_owned(),
                false => format!("its devices are {}", known.join(", ")),
            },
        ))
    }

    /// `longshore get devices --edge`.
    pub(crate) async fn get(&self, name: Option<&str>, json: bool) -> Result<bool> {
        let devices = match name {
            Some(name) => vec![self.device(name, None).await?],
            None => self.devices().await?,
        };
        if json {
            return Ok(emit(&format!("{:#}\n", Json::Array(devices))));
        }
        if devices.is_empty() {
            return Ok(say(&format!("the node at {} has no devices\n", self.page)));
        }
        Ok(say(&show::table(&devices)))
    }

    /// `longshore describe device NAME --edge`.
    pub(crate) async fn describe(
        &self,
        name: &str,
        namespace: Option<&str>,
        json: bool,
    ) -> Result<bool> {
        let device = self.device(name, namespace).await?;
        Ok(match json {
            true => emit(&format!("{device:#}\n")),
            false => say(&show::describe(&device)),
        })
    }

    /// `longshore watch device NAME --edge`: a line for each change, until Ctrl-C.
    pub(crate) async fn watch(&self, name: &str, namespace: Option<&str>) -> Result<bool> {
        let mut before = Json::Null;
        loop {
            let now = self.device(name, namespace).await?;
            let lines = show::changes(&before, &now);
            if !lines.is_empty() && !say(&lines) {
                return Ok(true);
            }
            before = now;
            tokio::time::sleep(LOOK).await;
        }
    }

    /// `longshore set device NAME PROPERTY=VALUE --edge`.
    pub(crate) async fn set(
        &self,
        name: &str,
        namespace: Option<&str>,
        values: &[(&str, &str)],
        wait: Option<u64>,
    ) -> Result<bool> {
        let device = self.device(name, namespace).await?;
        for (property, _) in values {
            writable(&device, name, property)?;
        }
        let status = self.ask("/status").await?;
        let address = status["bus"]["address"].as_str().with_context(|| {
            format!("the node at {} has no bus, and desired values go over it (`bus.mode` of edgecore.yaml)", self.page)
        })?;
        let full = device["device"].as_str().unwrap_or_default().parse()?;
        bus::set(address, &full, values).await?;
        let text: Vec<String> = values
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        say(&format!(
            "device `{name}`: {} is desired\n",
            text.join(", ")
        ));
        match wait {
            Some(seconds) => self.confirmed(&full.to_string(), values, seconds).await,
            None => Ok(true),
        }
    }

    /// Waits until the device has the values, or has refused one.
    async fn confirmed(&self, device: &str, values: &[(&str, &str)], seconds: u64) -> Result<bool> {
        let end = tokio::time::Instant::now() + Duration::from_secs(seconds);
        loop {
            let now = self.device(device, None).await?;
            let states: Vec<(String, String)> = values
                .iter()
                .map(|(name, _)| show::write_of(&now, name))
                .collect();
            let is = |word: &str| states.iter().filter(|(state, _)| state == word).count();
            let is_over = is("confirmed") == states.len() || is("failed") > 0;
            if is_over || tokio::time::Instant::now() >= end {
                for ((name, _), (state, message)) in values.iter().zip(&states) {
                    say(&format!("{name}: {state}{message}\n"));
                }
                return Ok(is("confirmed") == states.len());
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

fn writable(device: &Json, name: &str, property: &str) -> Result<()> {
    let properties = device["properties"].as_array();
    let properties: Vec<&Json> = properties.into_iter().flatten().collect();
    let found = properties.iter().find(|known| known["name"] == property);
    match found {
        Some(found) if found["writable"] == true => Ok(()),
        Some(_) => bail!("property `{property}` of device `{name}` is read-only"),
        None => {
            let known: Vec<&str> = properties
                .iter()
                .filter_map(|it| it["name"].as_str())
                .collect();
            let meant = nearest(property, known.iter().copied())
                .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            Err(advised(
                format!("device `{name}` has no property `{property}`{meant}"),
                format!("its properties are {}", known.join(", ")),
            ))
        }
    }
}

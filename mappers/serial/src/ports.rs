//! Which ports this machine has, and which of them a USB adapter is.
//!
//! `/dev/ttyUSB0` is whoever came first after the start. What stays is what
//! the adapter says of itself, and the kernel shows that under
//! `/sys/class/tty`: from the entry of a port a way leads up to the interface
//! and the device that it is part of.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use longshore_sdk::{Discovered, FoundDevice};
use serde_json::json;

/// What an adapter is known by; a part that is absent fits any.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UsbId {
    /// Four hexadecimal digits.
    pub vendor: String,
    /// Four hexadecimal digits.
    pub product: String,
    /// Its serial number.
    pub serial: Option<String>,
    /// Which interface of it, for adapters with several ports.
    pub interface: Option<u8>,
}

/// Where the kernel shows its devices. Other than the usual places in tests only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots {
    /// `/sys`
    pub sysfs: PathBuf,
    /// `/dev`
    pub dev: PathBuf,
}

/// A port of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its device file.
    pub path: PathBuf,
    /// Its name under `/dev/serial/by-id`, if it has one.
    pub by_id: Option<PathBuf>,
    /// The driver's name.
    pub driver: String,
    /// What its adapter says, if it is on USB.
    pub usb: Option<UsbId>,
    /// The adapter's name for people.
    pub product: String,
}

impl Default for Roots {
    fn default() -> Self {
        Self {
            sysfs: "/sys".into(),
            dev: "/dev".into(),
        }
    }
}

impl fmt::Display for UsbId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "usb {}:{}", self.vendor, self.product)?;
        if let Some(serial) = &self.serial {
            write!(f, " {serial}")?;
        }
        if let Some(interface) = self.interface {
            write!(f, " interface {interface}")?;
        }
        Ok(())
    }
}

impl UsbId {
    /// Whether an adapter is the one that is meant.
    fn fits(&self, adapter: &Self) -> bool {
        self.vendor.eq_ignore_ascii_case(&adapter.vendor)
            && self.product.eq_ignore_ascii_case(&adapter.product)
            && (self.serial.is_none() || self.serial == adapter.serial)
            && (self.interface.is_none() || self.interface == adapter.interface)
    }
}

impl Roots {
    /// The device file of an adapter.
    ///
    /// # Errors
    /// None is plugged in, or several are; the text says which ones there are.
    pub fn resolve(&self, usb: &UsbId) -> Result<PathBuf, String> {
        let ports = self.ports();
        let is_meant = |port: &&Found| port.usb.as_ref().is_some_and(|found| usb.fits(found));
        let found: Vec<_> = ports.iter().filter(is_meant).collect();
        match found[..] {
            [port] => Ok(port.path.clone()),
            [] => {
                let all: Vec<_> = ports.iter().filter(|port| port.usb.is_some()).collect();
                Err(match all.is_empty() {
                    true => format!("{usb} is not plugged in, nor is any other serial adapter"),
                    false => format!("{usb} is not plugged in; there are {}", list(&all)),
                })
            }
            _ => Err(format!(
                "several ports are {usb}: {}; name `serial` or `interface` as well",
                list(&found)
            )),
        }
    }

    /// All ports behind which there is hardware, in the order of their names.
    pub fn ports(&self) -> Vec<Found> {
        let entries = fs::read_dir(self.sysfs.join("class/tty"));
        let mut ports: Vec<_> = entries
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| self.port(&entry.path()))
            .collect();
        ports.sort_by(|left, right| left.path.cmp(&right.path));
        ports
    }

    fn port(&self, entry: &Path) -> Option<Found> {
        // Consoles and pseudo terminals have no device behind them.
        let device = fs::canonicalize(entry.join("device")).ok()?;
        let driver = driver(&device);
        // The kernel keeps entries for standard ports that are not there; their type is 0.
        if read(&entry.join("type")).as_deref() == Some("0") {
            return None;
        }
        let path = self.dev.join(entry.file_name()?);
        let (usb, product) = usb(&device).unzip();
        Some(Found {
            by_id: self.by_id(&path),
            path,
            driver,
            usb,
            product: product.unwrap_or_default(),
        })
    }

    fn by_id(&self, path: &Path) -> Option<PathBuf> {
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let links = fs::read_dir(self.dev.join("serial/by-id")).ok()?;
        let mut links: Vec<_> = links.flatten().map(|link| link.path()).collect();
        links.sort();
        links
            .into_iter()
            .find(|link| fs::canonicalize(link).is_ok_and(|of| of == target))
    }

    /// The ports as devices that were found. Nothing is sent to any of them.
    pub fn discover(&self) -> Discovered {
        let devices: Vec<_> = self.ports().iter().map(Found::device).collect();
        let mut notes =
            vec!["nothing was sent to any port: what is connected to them is not known".to_owned()];
        if devices.is_empty() {
            notes.push("this machine has no serial ports".to_owned());
        }
        Discovered { devices, notes }
    }
}

impl Found {
    fn device(&self) -> FoundDevice {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let name: String = name
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() {
                    c.to_ascii_lowercase()
                } else {
                    '-'
                }
            })
            .collect();
        let mut description = self.path.display().to_string();
        if !self.driver.is_empty() {
            description = format!("{description} ({})", self.driver);
        }
        if let Some(usb) = &self.usb {
            description = format!("{description}, {usb}");
        }
        if !self.product.is_empty() {
            description = format!("{description}, {}", self.product);
        }
        let mut protocol = serde_json::Map::new();
        match (&self.usb, &self.by_id) {
            (Some(usb), _) if usb.serial.is_some() => {
                let mut map = serde_json::Map::new();
                map.insert("vendor".to_owned(), json!(usb.vendor));
                map.insert("product".to_owned(), json!(usb.product));
                map.insert("serial".to_owned(), json!(usb.serial));
                if let Some(interface) = usb.interface {
                    map.insert("interface".to_owned(), json!(interface));
                }
                protocol.insert("usb".to_owned(), map.into());
            }
            (_, Some(link)) => {
                protocol.insert("url".to_owned(), json!(link.to_string_lossy()));
            }
            _ => {
                protocol.insert("url".to_owned(), json!(self.path.to_string_lossy()));
            }
        }
        FoundDevice {
            name,
            description,
            protocol,
            properties: Vec::new(),
        }
    }
}

/// The name of the port's driver. Newer kernels put `port` and `ctrl` of their
/// serial core between the port and the driver that is at work.
fn driver(device: &Path) -> String {
    let names = device.ancestors().take(3).filter_map(|folder| {
        let driver = fs::canonicalize(folder.join("driver")).ok()?;
        Some(driver.file_name()?.to_string_lossy().into_owned())
    });
    let mut names = names.filter(|name| name != "port" && name != "ctrl");
    names.next().unwrap_or_default()
}

/// From the device of a port up to the USB device that it is part of.
fn usb(device: &Path) -> Option<(UsbId, String)> {
    let mut interface = None;
    for folder in device.ancestors() {
        if interface.is_none() {
            let number = read(&folder.join("bInterfaceNumber"));
            interface = number.and_then(|number| u8::from_str_radix(&number, 16).ok());
        }
        if let Some(vendor) = read(&folder.join("idVendor")) {
            let id = UsbId {
                vendor,
                product: read(&folder.join("idProduct"))?,
                serial: read(&folder.join("serial")),
                interface,
            };
            return Some((id, read(&folder.join("product")).unwrap_or_default()));
        }
    }
    None
}

fn read(file: &Path) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    Some(text.trim().to_owned())
}

fn list(ports: &[&Found]) -> String {
    let texts: Vec<_> = ports
        .iter()
        .map(|port| match &port.usb {
            Some(usb) => format!("{} ({usb})", port.path.display()),
            None => port.path.display().to_string(),
        })
        .collect();
    texts.join(", ")
}

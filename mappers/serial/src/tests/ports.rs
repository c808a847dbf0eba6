//! Which port an adapter is, on a machine that is made up.

use std::{fs, os::unix::fs::symlink, path::Path};

use serde_json::{Map, json};
use tempfile::TempDir;

use longshore_sdk::Protocol;

use crate::{
    Serial,
    ports::{Roots, UsbId},
};

/// A machine with two FTDI adapters, one with two ports, and a port on the board.
struct Machine {
    folder: TempDir,
}

impl Machine {
    fn new() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let machine = Self { folder };
        fs::create_dir_all(machine.at("sys/class/tty")).unwrap();
        fs::create_dir_all(machine.at("dev/serial/by-id")).unwrap();
        // A console has no device behind it; ttyS1 is not there, its type is 0.
        fs::create_dir_all(machine.at("sys/class/tty/tty0")).unwrap();
        for (name, kind) in [("ttyS0", "4"), ("ttyS1", "0")] {
            let device = machine.at(&format!("sys/devices/platform/serial8250/{name}"));
            fs::create_dir_all(&device).unwrap();
            machine.driver(&device, "serial8250");
            machine.tty(name, &device);
            fs::write(machine.at(&format!("sys/class/tty/{name}/type")), kind).unwrap();
        }
        machine
    }

    fn at(&self, path: &str) -> std::path::PathBuf {
        self.folder.path().join(path)
    }

    fn driver(&self, device: &Path, name: &str) {
        let driver = self.at(&format!("sys/bus/drivers/{name}"));
        fs::create_dir_all(&driver).unwrap();
        symlink(driver, device.join("driver")).unwrap();
    }

    fn tty(&self, name: &str, device: &Path) {
        let entry = self.at(&format!("sys/class/tty/{name}"));
        fs::create_dir_all(&entry).unwrap();
        symlink(device, entry.join("device")).unwrap();
        fs::write(self.at(&format!("dev/{name}")), "").unwrap();
    }

    /// An adapter at a place on the bus, one port for each interface.
    fn plug(&self, place: &str, ids: (&str, &str, &str), ports: &[(&str, u8)]) {
        let usb = self.at(&format!("sys/devices/pci0/usb1/{place}"));
        fs::create_dir_all(&usb).unwrap();
        for (file, text) in [("idVendor", ids.0), ("idProduct", ids.1), ("serial", ids.2)] {
            fs::write(usb.join(file), format!("{text}\n")).unwrap();
        }
        fs::write(usb.join("product"), "FT232R USB UART\n").unwrap();
        for (name, interface) in ports {
            let folder = usb.join(format!("{place}:1.{interface}"));
            let device = folder.join(name);
            fs::create_dir_all(&device).unwrap();
            fs::write(
                folder.join("bInterfaceNumber"),
                format!("{interface:02x}\n"),
            )
            .unwrap();
            self.driver(&device, "ftdi_sio");
            self.tty(name, &device);
        }
    }

    fn unplug(&self, place: &str, ports: &[&str]) {
        fs::remove_dir_all(self.at(&format!("sys/devices/pci0/usb1/{place}"))).unwrap();
        for name in ports {
            fs::remove_dir_all(self.at(&format!("sys/class/tty/{name}"))).unwrap();
        }
    }

    fn roots(&self) -> Roots {
        Roots {
            sysfs: self.at("sys"),
            dev: self.at("dev"),
        }
    }
}

fn usb(serial: Option<&str>, interface: Option<u8>) -> UsbId {
    UsbId {
        vendor: "0403".to_owned(),
        product: "6001".to_owned(),
        serial: serial.map(str::to_owned),
        interface,
    }
}

#[test]
fn an_adapter_is_found_wherever_it_is_plugged_in() {
    let machine = Machine::new();
    machine.plug("1-1", ("0403", "6001", "A1"), &[("ttyUSB0", 0)]);
    machine.plug(
        "1-2",
        ("0403", "6001", "B2"),
        &[("ttyUSB1", 0), ("ttyUSB2", 1)],
    );
    let find = |usb: &UsbId| {
        let found = machine.roots().resolve(usb);
        found.map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
    };
    assert_eq!(find(&usb(Some("A1"), None)).as_deref(), Ok("ttyUSB0"));
    assert_eq!(find(&usb(Some("B2"), Some(1))).as_deref(), Ok("ttyUSB2"));
    let several = find(&usb(Some("B2"), None)).unwrap_err();
    assert!(
        several.starts_with("several ports are usb 0403:6001 B2: "),
        "{several}"
    );
    assert!(
        several.ends_with("name `serial` or `interface` as well"),
        "{several}"
    );
    // The machine starts anew, and the other adapter is the first this time.
    machine.unplug("1-1", &["ttyUSB0"]);
    machine.unplug("1-2", &["ttyUSB1", "ttyUSB2"]);
    let gone = find(&usb(Some("A1"), None)).unwrap_err();
    assert_eq!(
        gone,
        "usb 0403:6001 A1 is not plugged in, nor is any other serial adapter"
    );
    machine.plug(
        "1-2",
        ("0403", "6001", "B2"),
        &[("ttyUSB0", 0), ("ttyUSB1", 1)],
    );
    let other = find(&usb(Some("A1"), None)).unwrap_err();
    assert!(
        other.starts_with("usb 0403:6001 A1 is not plugged in; there are "),
        "{other}"
    );
    machine.plug("1-1", ("0403", "6001", "A1"), &[("ttyUSB2", 0)]);
    assert_eq!(find(&usb(Some("A1"), None)).as_deref(), Ok("ttyUSB2"));
}

#[tokio::test]
async fn discovery_names_ports_by_what_stays() {
    let machine = Machine::new();
    machine.plug("1-1", ("0403", "6001", "A1"), &[("ttyUSB0", 0)]);
    let link = machine.at("dev/serial/by-id/usb-FTDI-port0");
    symlink(machine.at("dev/ttyUSB0"), &link).unwrap();
    let roots = machine.roots();
    let serial = Serial::new(&json!({"sysfs": roots.sysfs, "dev": roots.dev})).expect("a mapper");
    let found = serial.discover(&Map::new()).await.expect("found");
    let names: Vec<_> = found
        .devices
        .iter()
        .map(|device| device.name.as_str())
        .collect();
    assert_eq!(names, ["ttys0", "ttyusb0"]);
    assert_eq!(
        found.devices[1].protocol,
        json!({"usb": {"vendor": "0403", "product": "6001", "serial": "A1", "interface": 0}})
            .as_object()
            .unwrap()
            .clone()
    );
    let description = &found.devices[1].description;
    for part in ["ttyUSB0", "ftdi_sio", "FT232R USB UART"] {
        assert!(description.contains(part), "{description}");
    }
    assert!(found.devices[0].description.contains("serial8250"));
    assert!(found.notes[0].starts_with("nothing was sent to any port"));
    assert_eq!(roots.ports()[1].by_id.as_deref(), Some(link.as_path()));
}

// A node-opcua server with the nodes that the mapper's checks expect: the same
// as those of ../asyncua_server.py, with the same options and commands.
//
//   "$(deploy/setup/node)" server.js [OPTION...]
//
// Prints one line of JSON when it listens, and ends when its input does:
//
//   {"url": "opc.tcp://127.0.0.1:PORT/peer", "namespace": "urn:longshore:peer",
//    "index": 2, "certificate": "/…/own/certs/certificate.pem"}
//
//   --port N                 that port; 0, the default, takes a free one
//   --policies LIST          comma-separated; default None
//   --modes LIST             Sign and SignAndEncrypt; default both
//   --user NAME:PASSWORD     a user; may be given more than once
//   --no-anonymous           asks everybody for a user
//   --pki FOLDER             keeps keys and certificates there. Making them takes
//                            seconds: give the same folder each time
//   --namespaces-before N    so many namespaces come before ours
//
// Commands, one a line, each answered by "ok" or "error …":
//   set NAME JSON | status NAME CODE | delete NAME | create NAME
"use strict";

const fs = require("node:fs");
const net = require("node:net");
const os = require("node:os");
const path = require("node:path");
const readline = require("node:readline");
const { parseArgs } = require("node:util");

const { OPCUAServer } = require("node-opcua-server");
const { OPCUACertificateManager } = require("node-opcua-certificate-manager");
const { DataType, Variant, VariantArrayType } = require("node-opcua-variant");
const { StatusCodes, coerceStatusCode } = require("node-opcua-status-code");
const { LocalizedText, QualifiedName } = require("node-opcua-data-model");
const { resolveNodeId } = require("node-opcua-nodeid");
const { MessageSecurityMode, SecurityPolicy } = require("node-opcua-secure-channel");
const { nodesets } = require("node-opcua-nodesets");
const { EUInformation, Range } = require("node-opcua-types");

const APPLICATION = "urn:longshore:peer:server";
const NAMESPACE = "urn:longshore:peer";

const SCALARS = [
    ["Boolean", true],
    ["SByte", -8],
    ["Byte", 8],
    ["Int16", -16],
    ["UInt16", 16],
    ["Int32", -32],
    ["UInt32", 32],
    ["Int64", [0xffffffff, 0xffffffc0]], // -64: high word, low word
    ["UInt64", [0x80000000, 0]], // 2^63
    ["Float", 1.5],
    ["Double", 2.25],
    ["String", "text"],
    ["DateTime", new Date("2024-05-06T07:08:09Z")],
    ["Guid", "00112233-4455-6677-8899-AABBCCDDEEFF"],
    ["ByteString", Buffer.from([0x01, 0x02, 0xff])],
    ["NodeId", resolveNodeId("ns=0;s=Machine")],
    ["QualifiedName", new QualifiedName({ name: "name", namespaceIndex: 1 })],
    ["LocalizedText", new LocalizedText({ text: "press", locale: "en" })],
];

const ARRAYS = [
    ["Int32Array", "Int32", new Int32Array([1, 2, 3])],
    ["DoubleArray", "Double", new Float64Array([1.5, 2.5])],
    ["StringArray", "String", ["a", "b"]],
];

function options() {
    const { values } = parseArgs({
        options: {
            port: { type: "string", default: "0" },
            policies: { type: "string", default: "None" },
            modes: { type: "string", default: "Sign,SignAndEncrypt" },
            user: { type: "string", multiple: true, default: [] },
            "no-anonymous": { type: "boolean", default: false },
            pki: { type: "string" },
            "namespaces-before": { type: "string", default: "0" },
        },
    });
    if (values.pki === undefined) {
        values.pki = fs.mkdtempSync(path.join(os.tmpdir(), "longshore-peer-"));
        process.on("exit", () => fs.rmSync(values.pki, { recursive: true, force: true }));
    }
    return values;
}

function freePort() {
    return new Promise((resolve) => {
        const listener = net.createServer().listen(0, "127.0.0.1", () => {
            const { port } = listener.address();
            listener.close(() => resolve(port));
        });
    });
}

// Namespaces without a node, each a file, since the library takes files.
function namespacesBefore(count) {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "longshore-peer-"));
    const files = Array.from({ length: count }, (_, number) => {
        const uri = `urn:longshore:before:${number}`;
        const file = path.join(folder, `${number}.xml`);
        fs.writeFileSync(
            file,
            `<UANodeSet xmlns="http://opcfoundation.org/UA/2011/03/UANodeSet.xsd">
            <NamespaceUris><Uri>${uri}</Uri></NamespaceUris>
            <Models><Model ModelUri="${uri}" Version="1.0.0" PublicationDate="2024-05-06T00:00:00Z">
            <RequiredModel ModelUri="http://opcfoundation.org/UA/"/></Model></Models></UANodeSet>`,
        );
        return file;
    });
    return { folder, files };
}

// The address space below Objects/Machine.
class Machine {
    constructor(addressSpace) {
        this.addressSpace = addressSpace;
        this.namespace = addressSpace.getNamespace(NAMESPACE);
        this.nodes = new Map();
        this.fill();
    }

    fill() {
        const machine = this.namespace.addObject({
            nodeId: "s=Machine",
            browseName: "Machine",
            organizedBy: this.addressSpace.rootFolder.objects,
        });
        const types = this.namespace.addObject({
            nodeId: "s=Machine.Types",
            browseName: "Types",
            typeDefinition: "FolderType",
            componentOf: machine,
        });
        for (const [name, value] of SCALARS) {
            this.variable(types, name, `Machine.Types.${name}`, { dataType: DataType[name], value }, {}, true);
        }
        for (const [name, type, value] of ARRAYS) {
            const variant = { dataType: DataType[type], arrayType: VariantArrayType.Array, value };
            this.variable(types, name, `Machine.Types.${name}`, variant, { dataType: type, valueRank: 1 }, true);
        }
        const matrix = {
            dataType: DataType.Int32,
            arrayType: VariantArrayType.Matrix,
            dimensions: [2, 3],
            value: new Int32Array([1, 2, 3, 4, 5, 6]),
        };
        const rank = { dataType: "Int32", valueRank: 2, arrayDimensions: [2, 3] };
        this.variable(types, "Matrix", "Machine.Types.Matrix", matrix, rank, true);
        this.variable(machine, "Temperature", "Machine.Temperature", { dataType: DataType.Double, value: 21.5 });
        this.unit(this.nodes.get("Temperature").node);
        this.variable(machine, "Setpoint", "Machine.Setpoint", { dataType: DataType.Double, value: 20 }, {}, true);
        this.variable(machine, "Counter", "Machine.Counter", { dataType: DataType.UInt32, value: 0 });
        this.customTypes(machine);
        this.methods(machine);
    }

    variable(parent, name, identifier, variant, more = {}, writable = false) {
        const node = this.namespace.addVariable({
            nodeId: `s=${identifier}`,
            browseName: name,
            componentOf: parent,
            dataType: DataType[variant.dataType],
            accessLevel: writable ? "CurrentRead | CurrentWrite" : "CurrentRead",
            userAccessLevel: writable ? "CurrentRead | CurrentWrite" : "CurrentRead",
            ...more,
        });
        // The library cannot tell a 64-bit number, two words, from an array.
        node.setValueFromSource(new Variant({ arrayType: VariantArrayType.Scalar, ...variant }));
        this.nodes.set(name, { node, again: (last) => this.variable(parent, name, identifier, last, more, writable) });
        return node;
    }

    // EngineeringUnits by its UNECE code, as in OPC 10000-8, 5.6.3.
    unit(node) {
        const property = (browseName, dataType, value) =>
            this.namespace.addVariable({
                propertyOf: node,
                browseName: { name: browseName, namespaceIndex: 0 },
                dataType,
                value: { dataType: DataType.ExtensionObject, value },
            });
        property("EURange", "Range", new Range({ low: 0, high: 200 }));
        property(
            "EngineeringUnits",
            "EUInformation",
            new EUInformation({
                namespaceUri: "http://www.opcfoundation.org/UA/units/un/cefact",
                unitId: 4408652,
                displayName: { text: "°C" },
                description: { text: "degree Celsius" },
            }),
        );
    }

    customTypes(machine) {
        const type = this.addressSpace.findDataType("Pose", this.namespace.index);
        const pose = this.addressSpace.constructExtensionObject(type, { x: 1, y: 2.5, label: "home", path: [7, 8] });
        const variant = { dataType: DataType.ExtensionObject, value: pose };
        this.variable(machine, "Pose", "Machine.Pose", variant, { dataType: type.nodeId });
        const mode = this.addressSpace.findDataType("Mode", this.namespace.index);
        const number = { dataType: DataType.Int32, value: 2 };
        this.variable(machine, "Mode", "Machine.Mode", number, { dataType: mode.nodeId }, true);
    }

    methods(machine) {
        const argument = (name) => ({ name, dataType: DataType.Double, valueRank: -1 });
        const add = (name, inputArguments, outputArguments, call) =>
            this.namespace
                .addMethod(machine, { nodeId: `s=Machine.${name}`, browseName: name, inputArguments, outputArguments })
                .bindMethod((inputs, _context, done) => done(null, call(...inputs.map((input) => input.value))));
        add("multiply", [argument("x"), argument("y")], [argument("product")], (x, y) => ({
            statusCode: StatusCodes.Good,
            outputArguments: [{ dataType: DataType.Double, value: x * y }],
        }));
        add("reset", [], [], () => {
            this.set("Counter", 0);
            return { statusCode: StatusCodes.Good, outputArguments: [] };
        });
        add("refuse", [], [], () => ({ statusCode: StatusCodes.BadInvalidState, outputArguments: [] }));
    }

    set(name, value, status = StatusCodes.Good) {
        const { node } = this.nodes.get(name);
        const { dataType, arrayType, dimensions } = node.readValue().value;
        node.setValueFromSource(new Variant({ dataType, arrayType, dimensions, value }), status);
    }

    // The value stays behind a bad status, so that it is there again afterwards.
    status(name, code) {
        const { node } = this.nodes.get(name);
        const known = this.nodes.get(name);
        known.value ??= node.readValue().value.clone();
        node.setValueFromSource(known.value, coerceStatusCode(code));
    }

    delete(name) {
        const known = this.nodes.get(name);
        known.gone = known.node.readValue().value.clone();
        this.addressSpace.deleteNode(known.node);
    }

    create(name) {
        const { again, gone } = this.nodes.get(name);
        again(gone);
    }

    // Every 100 ms while the counter is there and good.
    count() {
        const { node, gone } = this.nodes.get("Counter");
        if (!gone && node.readValue().statusCode.isGood()) {
            this.set("Counter", node.readValue().value.value + 1);
        }
    }
}

async function start(given) {
    const manager = (name) =>
        new OPCUACertificateManager({
            name,
            rootFolder: path.join(given.pki, name),
            automaticallyAcceptUnknownCertificate: true,
            disableFileWatchers: true,
        });
    const policies = given.policies.split(",");
    const before = namespacesBefore(Number(given["namespaces-before"]));
    const users = new Map(given.user.map((user) => user.split(/:(.*)/s).slice(0, 2)));
    const server = new OPCUAServer({
        port: Number(given.port) || (await freePort()),
        host: "127.0.0.1",
        hostname: "127.0.0.1",
        resourcePath: "/peer",
        serverInfo: { applicationUri: APPLICATION, applicationName: { text: "Longshore's peer" } },
        serverCertificateManager: manager("server"),
        userCertificateManager: manager("users"),
        securityPolicies: policies.map((policy) => SecurityPolicy[policy.replace(/^Aes(\d+)Sha256Rsa/, "Aes$1_Sha256_Rsa")]),
        securityModes: [
            ...(policies.includes("None") ? [MessageSecurityMode.None] : []),
            ...given.modes.split(",").map((mode) => MessageSecurityMode[mode]),
        ],
        allowAnonymous: !given["no-anonymous"],
        userManager: { isValidUser: (name, password) => users.get(name) === password },
        nodesets: [nodesets.standard, ...before.files, path.join(__dirname, "peer.xml")],
    });
    await server.initialize();
    fs.rmSync(before.folder, { recursive: true, force: true });
    const machine = new Machine(server.engine.addressSpace);
    await server.start();
    const url = `opc.tcp://127.0.0.1:${server.endpoints[0].port}/peer`;
    const ready = { url, namespace: NAMESPACE, index: machine.namespace.index, certificate: server.certificateFile };
    return { machine, ready };
}

function obey(machine, line) {
    const [, command, name, rest] = line.match(/^(\S+) (\S+) ?(.*)$/s);
    switch (command) {
        case "set":
            return machine.set(name, JSON.parse(rest));
        case "status":
            return machine.status(name, rest);
        case "delete":
            return machine.delete(name);
        case "create":
            return machine.create(name);
        default:
            throw new Error(`no command ${command}`);
    }
}

// Standard output carries answers only; what the library says is not for the tests.
const say = (text) => fs.writeSync(1, `${text}\n`);
console.log = console.info = console.warn = (...words) => console.error(...words);

start(options()).then(
    async ({ machine, ready }) => {
        setInterval(() => machine.count(), 100);
        say(JSON.stringify(ready));
        for await (const line of readline.createInterface({ input: process.stdin })) {
            try {
                obey(machine, line);
                say("ok");
            } catch (fault) {
                say(`error ${fault}`);
            }
        }
        process.exit(0);
    },
    (fault) => {
        console.error(fault);
        process.exit(1);
    },
);

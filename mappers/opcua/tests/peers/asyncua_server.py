"""An asyncua server with the nodes that the mapper's checks expect.

Prints one line of JSON when it listens, and ends when its input does:

    {"url": "opc.tcp://127.0.0.1:PORT/peer", "namespace": "urn:longshore:peer",
     "index": 2, "certificate": "/…/server.der"}

Options:
    --port N                   that port; 0, the default, takes a free one. A second
                               start with the port of the first is a server's restart.
    --policies LIST            comma-separated: None, Basic256Sha256, Aes128Sha256RsaOaep,
                               Aes256Sha256RsaPss; default None
    --modes LIST               comma-separated: Sign, SignAndEncrypt; default both
    --user NAME:PASSWORD       a user; may be given more than once
    --user-certificate FILE    the certificate of a user, DER or PEM; may be given more than once
    --no-anonymous             asks everybody for a user
    --pki FOLDER               keeps the server's certificate there; default: a new one
    --namespaces-before N      so many namespaces come before ours: its index moves
    --refuse-subscriptions     as a server that has no subscription left
    --authority                its certificate is signed by an authority, whose own one is
                               "authority" of the first line
    --most N                   refuses more than N operations in a request, and tells no limit
    --spoil NAME               refuses each request that has this node in it
    --clock SECONDS            its clock is so far ahead
    --other-url                has another endpoint URL too, whose users have other policies

Each line of the input is a command, answered by one line, "ok" or "error …":
    set NAME JSON              a value, with the time of now
    status NAME CODE           its status, such as BadSensorFailure; Good takes it back
    delete NAME | create NAME  takes a node away and brings it back
    big NAME SIZE              a text of so many bytes
    sessions                   drops all connections; the server forgets the sessions
"""

import argparse
import atexit
import asyncio
import copy
import datetime
import ipaddress
import json
import os
import shutil
import socket
import struct
import sys
import tempfile
import uuid
from pathlib import Path

from asyncua import Server, ua, uamethod
from asyncua.common.structures104 import new_enum, new_struct, new_struct_field
from asyncua.common.utils import ServiceError
from asyncua.crypto.cert_gen import dump_private_key_as_pem, generate_private_key
from asyncua.crypto.cert_gen import generate_self_signed_app_certificate
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.server.internal_session import InternalSession
from asyncua.server.uaprocessor import UaProcessor
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

APPLICATION = "urn:longshore:peer:server"
NAMESPACE = "urn:longshore:peer"

# Name, type, first value. All are writable, below Objects/Machine/Types.
SCALARS = [
    ("Boolean", ua.VariantType.Boolean, True),
    ("SByte", ua.VariantType.SByte, -8),
    ("Byte", ua.VariantType.Byte, 8),
    ("Int16", ua.VariantType.Int16, -16),
    ("UInt16", ua.VariantType.UInt16, 16),
    ("Int32", ua.VariantType.Int32, -32),
    ("UInt32", ua.VariantType.UInt32, 32),
    ("Int64", ua.VariantType.Int64, -64),
    ("UInt64", ua.VariantType.UInt64, 2**63),
    ("Float", ua.VariantType.Float, 1.5),
    ("Double", ua.VariantType.Double, 2.25),
    ("String", ua.VariantType.String, "text"),
    ("DateTime", ua.VariantType.DateTime,
     datetime.datetime(2024, 5, 6, 7, 8, 9, tzinfo=datetime.timezone.utc)),
    ("Guid", ua.VariantType.Guid, uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")),
    ("ByteString", ua.VariantType.ByteString, b"\x01\x02\xff"),
    ("NodeId", ua.VariantType.NodeId, ua.NodeId("Machine", 0)),
    ("QualifiedName", ua.VariantType.QualifiedName, ua.QualifiedName("name", 1)),
    ("LocalizedText", ua.VariantType.LocalizedText, ua.LocalizedText("press", "en")),
    ("Int32Array", ua.VariantType.Int32, [1, 2, 3]),
    ("DoubleArray", ua.VariantType.Double, [1.5, 2.5]),
    ("StringArray", ua.VariantType.String, ["a", "b"]),
    ("Matrix", ua.VariantType.Int32, [[1, 2, 3], [4, 5, 6]]),
]

POLICIES = {
    "Basic256Sha256": ("Basic256Sha256_Sign", "Basic256Sha256_SignAndEncrypt"),
    "Aes128Sha256RsaOaep": ("Aes128Sha256RsaOaep_Sign", "Aes128Sha256RsaOaep_SignAndEncrypt"),
    "Aes256Sha256RsaPss": ("Aes256Sha256RsaPss_Sign", "Aes256Sha256RsaPss_SignAndEncrypt"),
}


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--policies", default="None")
    parser.add_argument("--modes", default="Sign,SignAndEncrypt")
    parser.add_argument("--user", action="append", default=[])
    parser.add_argument("--user-certificate", action="append", default=[])
    parser.add_argument("--no-anonymous", action="store_true")
    parser.add_argument("--pki", type=Path)
    parser.add_argument("--namespaces-before", type=int, default=0)
    parser.add_argument("--refuse-subscriptions", action="store_true")
    parser.add_argument("--authority", action="store_true")
    parser.add_argument("--other-url", action="store_true")
    parser.add_argument("--most", type=int, default=0)
    parser.add_argument("--spoil")
    parser.add_argument("--clock", type=int, default=0)
    return parser.parse_args()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def own_certificate(folder):
    """The files of the server's certificate and key, made at the first use."""
    if folder is None:
        folder = Path(tempfile.mkdtemp(prefix="longshore-peer-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    certificate, key = folder / "server.der", folder / "server.pem"
    if not certificate.exists():
        secret = generate_private_key()
        signed = generate_self_signed_app_certificate(
            secret,
            "peer",
            {"organizationName": "Longshore tests"},
            [
                x509.UniformResourceIdentifier(APPLICATION),
                x509.DNSName("localhost"),
                x509.DNSName(socket.gethostname()),
                x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
            ],
            [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH],
        )
        key.write_bytes(dump_private_key_as_pem(secret))
        certificate.write_bytes(signed.public_bytes(Encoding.DER))
    return certificate, key


def signed_certificate(folder):
    """The same, signed by an authority over one in between; and the authority's file."""
    folder = folder / "signed"
    folder.mkdir(parents=True, exist_ok=True)
    certificate, key, root = (folder / name for name in ("server.der", "server.pem", "root.der"))
    if not certificate.exists():
        root_key, between_key, own_key = (generate_private_key() for _ in range(3))
        root_name, between_name = (authority_name(name) for name in ("root", "between"))
        authority = sign(root_name, root_key.public_key(), root_name, root_key, True)
        between = sign(between_name, between_key.public_key(), root_name, root_key, True)
        own = sign(authority_name("peer"), own_key.public_key(), between_name, between_key, False)
        key.write_bytes(dump_private_key_as_pem(own_key))
        root.write_bytes(authority.public_bytes(Encoding.DER))
        (folder / "between.der").write_bytes(between.public_bytes(Encoding.DER))
        certificate.write_bytes(own.public_bytes(Encoding.DER))
    return certificate, key, root


def authority_name(name):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Longshore tests {name}")])


def sign(subject, public_key, issuer, issuer_key, is_authority):
    now = datetime.datetime.now(datetime.timezone.utc)
    names = [x509.UniformResourceIdentifier(APPLICATION), x509.DNSName("localhost")]
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )


def refuse_whole(options):
    """Whole requests: too many operations, or one that spoils them."""

    def watch(name, operations, node):
        call = getattr(InternalSession, name)

        def check(parameters):
            asked = operations(parameters)
            if options.most and len(asked) > options.most:
                raise ServiceError(ua.StatusCodes.BadTooManyOperations)
            if options.spoil and any(node(one) == f"Machine.{options.spoil}" for one in asked):
                raise ServiceError(ua.StatusCodes.BadInternalError)

        async def checked(self, parameters, *more, **named):
            if self.external:
                check(parameters)
            return await call(self, parameters, *more, **named)

        setattr(InternalSession, name, checked)

    watch("read", lambda of: of.NodesToRead, lambda one: one.NodeId.Identifier)
    watch("browse", lambda of: of.NodesToBrowse, lambda one: one.NodeId.Identifier)
    watch("translate_browsepaths_to_nodeids", lambda of: of, lambda one: None)
    watch(
        "create_monitored_items",
        lambda of: of.ItemsToCreate,
        lambda one: one.ItemToMonitor.NodeId.Identifier,
    )


def set_clock(seconds):
    """What it says of itself is so far ahead: clients take its clock from its answers."""
    send = UaProcessor.send_response

    def send_response(self, handle, header, response, *more, **named):
        response.ResponseHeader.Timestamp = clock(seconds)
        return send(self, handle, header, response, *more, **named)

    UaProcessor.send_response = send_response


def clock(seconds):
    return datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)


def add_other_url(server, port):
    """Endpoints of another URL behind ours; a token of theirs is invalid here."""
    own = server.iserver.get_endpoints
    activate = InternalSession.activate_session

    async def get_endpoints(*arguments, **more):
        ours = await own(*arguments, **more)
        others = copy.deepcopy(ours)
        for endpoint in others:
            endpoint.EndpointUrl = f"opc.tcp://192.0.2.7:{port}/other"
            for token in endpoint.UserIdentityTokens:
                token.PolicyId = f"other-{token.PolicyId}"
        return ours + others

    def activate_session(self, params, *more):
        if params.UserIdentityToken.PolicyId.startswith("other-"):
            raise ServiceError(ua.StatusCodes.BadIdentityTokenInvalid)
        return activate(self, params, *more)

    server.iserver.get_endpoints = get_endpoints
    InternalSession.activate_session = activate_session


def der(file):
    content = Path(file).read_bytes()
    if b"-----BEGIN" in content:
        return x509.load_pem_x509_certificate(content).public_bytes(Encoding.DER)
    return content


class Users:
    """Who may come in: the names with their passwords, and the certificates."""

    def __init__(self, options):
        self.passwords = dict(user.split(":", 1) for user in options.user)
        self.certificates = [der(file) for file in options.user_certificate]

    def tokens(self, anonymous):
        tokens = [ua.AnonymousIdentityToken] if anonymous else []
        tokens += [ua.UserNameIdentityToken] if self.passwords else []
        tokens += [ua.X509IdentityToken] if self.certificates else []
        return tokens

    def get_user(self, iserver, username=None, password=None, certificate=None):
        known = User(role=UserRole.User, name=username)
        if username is not None:
            return known if self.passwords.get(username) == password else None
        # A client's own certificate comes here for an anonymous user too.
        anonymous = ua.AnonymousIdentityToken in iserver.supported_tokens
        return known if anonymous or certificate in self.certificates else None


class Machine:
    """The address space below Objects/Machine."""

    def __init__(self, server, index, ahead):
        self.server = server
        self.ahead = ahead
        self.index = index
        self.nodes = {}
        self.types = {}
        self.deleted = {}
        self.last = {}

    async def fill(self):
        objects = self.server.nodes.objects
        machine = await objects.add_object(ua.NodeId("Machine", self.index), self.name("Machine"))
        types = await machine.add_folder(ua.NodeId("Machine.Types", self.index), self.name("Types"))
        for name, kind, value in SCALARS:
            node = await self.variable(types, name, f"Machine.Types.{name}", kind, value, True)
            if name == "Matrix":
                await node.write_value_rank(ua.ValueRank.TwoDimensions)
                await node.write_array_dimensions([2, 3])
            elif isinstance(value, list):
                await node.write_value_rank(ua.ValueRank.OneDimension)
        double = ua.VariantType.Double
        temperature = await self.variable(machine, "Temperature", "Machine.Temperature", double, 21.5)
        await self.unit(temperature, 4408652, "°C")
        await self.variable(machine, "Setpoint", "Machine.Setpoint", double, 20.0, True)
        await self.variable(machine, "Counter", "Machine.Counter", ua.VariantType.UInt32, 0)
        await self.custom_types(machine)
        await self.methods(machine)

    async def variable(self, parent, name, identifier, kind, value, writable=False):
        node = await parent.add_variable(
            ua.NodeId(identifier, self.index), self.name(name), value, kind
        )
        if writable:
            await node.set_writable()
        self.nodes[name] = (node, kind, parent, identifier, writable)
        return node

    async def unit(self, node, identifier, symbol):
        """EngineeringUnits by its UNECE code, as in OPC 10000-8, 5.6.3."""
        information = ua.EUInformation(
            NamespaceUri="http://www.opcfoundation.org/UA/units/un/cefact",
            UnitId=identifier,
            DisplayName=ua.LocalizedText(symbol),
            Description=ua.LocalizedText("degree Celsius"),
        )
        await node.add_property(0, "EngineeringUnits", information)
        await node.add_property(0, "EURange", ua.Range(Low=0.0, High=200.0))

    async def custom_types(self, machine):
        """A structure and an enumeration with their definitions, and one variable of each."""
        fields = [
            new_struct_field("X", ua.VariantType.Double),
            new_struct_field("Y", ua.VariantType.Double),
            new_struct_field("Label", ua.VariantType.String),
            new_struct_field("Path", ua.VariantType.Int32, array=True),
        ]
        await new_struct(self.server, self.index, "Pose", fields)
        mode = await new_enum(self.server, self.index, "Mode", ["Off", "Manual", "Auto"])
        await self.server.load_data_type_definitions()
        pose = ua.Pose()
        pose.X, pose.Y, pose.Label, pose.Path = 1.0, 2.5, "home", [7, 8]
        kind = ua.VariantType.ExtensionObject
        await self.variable(machine, "Pose", "Machine.Pose", kind, pose)
        node = await machine.add_variable(
            ua.NodeId("Machine.Mode", self.index), self.name("Mode"), 2, ua.VariantType.Int32, mode.nodeid
        )
        await node.set_writable()
        self.nodes["Mode"] = (node, ua.VariantType.Int32, machine, "Machine.Mode", True)
        await self.flags(machine)

    async def flags(self, machine):
        """An OptionSet of 64 bits: a structure with one in it, and a node of it without a value."""
        flags = await self.data_type(
            ua.ObjectIds.UInt64,
            "Flags",
            ua.EnumDefinition(Fields=[ua.EnumField(Name="overpressure", Value=0)]),
        )
        fields = [
            ua.StructureField(Name="Flags", DataType=flags.nodeid, ValueRank=-1),
            ua.StructureField(Name="Pressure", DataType=ua.NodeId(ua.ObjectIds.Double), ValueRank=-1),
        ]
        encoding = ua.NodeId("Gauge.Binary", self.index)
        definition = ua.StructureDefinition(
            DefaultEncodingId=encoding,
            BaseDataType=ua.NodeId(ua.ObjectIds.Structure),
            StructureType=ua.StructureType.Structure,
            Fields=fields,
        )
        gauge = await self.data_type(ua.ObjectIds.Structure, "Gauge", definition)
        node = await gauge.add_object(encoding, ua.QualifiedName("Default Binary", 0))
        await gauge.delete_reference(node, ua.ObjectIds.HasComponent)
        await gauge.add_reference(node, ua.ObjectIds.HasEncoding)
        value = ua.ExtensionObject(TypeId=encoding, Body=struct.pack("<Qd", 2**40 + 5, 99.5))
        long = ua.ExtensionObject(TypeId=encoding, Body=struct.pack("<QdB", 1, 2.5, 3))
        for name, body in (("Gauge", value), ("Long", long)):
            await machine.add_variable(
                ua.NodeId(f"Machine.{name}", self.index), self.name(name), ua.Variant(body), datatype=gauge.nodeid
            )
        empty = await machine.add_variable(
            ua.NodeId("Machine.Options", self.index),
            self.name("Options"),
            ua.Variant(None, ua.VariantType.Null),
            datatype=flags.nodeid,
        )
        await empty.set_writable()
        await self.variable(
            machine, "Status", "Machine.Status", ua.VariantType.StatusCode, ua.StatusCode(0), True
        )

    async def data_type(self, parent, name, definition):
        node = await self.server.get_node(parent).add_data_type(
            ua.NodeId(f"Types.{name}", self.index), self.name(name)
        )
        value = ua.DataValue(ua.Variant(definition, ua.VariantType.ExtensionObject))
        await node.write_attribute(ua.AttributeIds.DataTypeDefinition, value)
        return node

    async def methods(self, machine):
        @uamethod
        async def multiply(_parent, x, y):
            return x * y

        @uamethod
        async def reset(_parent):
            await self.set("Counter", 0)

        @uamethod
        async def refuse(_parent):
            return ua.StatusCode(ua.StatusCodes.BadInvalidState)

        def argument(name):
            return ua.Argument(Name=name, DataType=ua.NodeId(ua.ObjectIds.Double), ValueRank=-1)

        for name, call, inputs, outputs in [
            ("multiply", multiply, [argument("x"), argument("y")], [argument("product")]),
            ("reset", reset, [], []),
            ("refuse", refuse, [], []),
        ]:
            identifier = ua.NodeId(f"Machine.{name}", self.index)
            await machine.add_method(identifier, self.name(name), call, inputs, outputs)

    def name(self, name):
        return ua.QualifiedName(name, self.index)

    async def set(self, name, value, status=ua.StatusCodes.Good):
        node, kind = self.nodes[name][:2]
        self.last[name] = value
        now = clock(self.ahead)
        variant = ua.Variant(value, kind)
        await node.write_value(
            ua.DataValue(variant, StatusCode=ua.StatusCode(status), SourceTimestamp=now)
        )

    async def value(self, name):
        """The last value; a client gets none with a bad status."""
        return self.last.get(name, (await self.nodes[name][0].read_data_value(False)).Value.Value)

    async def status(self, name, code):
        await self.set(name, await self.value(name), getattr(ua.StatusCodes, code))

    async def delete(self, name):
        node = self.nodes[name][0]
        self.deleted[name] = await self.value(name)
        await self.server.delete_nodes([node])

    async def create(self, name):
        _, kind, parent, identifier, writable = self.nodes[name]
        await self.variable(parent, name, identifier, kind, self.deleted.pop(name), writable)


async def count(machine):
    """The counter moves every 100 ms while its node is there."""
    while True:
        await asyncio.sleep(0.1)
        if "Counter" in machine.deleted:
            continue
        now = await machine.nodes["Counter"][0].read_data_value(raise_on_bad_status=False)
        if now.StatusCode.is_good():
            await machine.set("Counter", now.Value.Value + 1)


async def drop_sessions(server):
    for client in list(server.bserver.clients):
        if client.processor.session is not None:
            await client.processor.session.close_session(True)
        client.transport.abort()


async def obey(server, machine, line):
    command, *rest = line.strip().split(None, 2)
    if command == "set":
        await machine.set(rest[0], json.loads(rest[1]))
    elif command == "status":
        await machine.status(*rest)
    elif command == "delete":
        await machine.delete(*rest)
    elif command == "create":
        await machine.create(*rest)
    elif command == "big":
        await machine.set(rest[0], "x" * int(rest[1]))
    elif command == "sessions":
        await drop_sessions(server)
    else:
        raise ValueError(f"no command {command}")


async def commands(server, machine):
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        try:
            await obey(server, machine, line)
            answer = "ok"
        except Exception as fault:  # whatever it is, the test is to read it
            answer = f"error {fault!r}"
        print(answer, flush=True)


def policies(options):
    chosen = []
    for policy in options.policies.split(","):
        if policy == "None":
            chosen.append(ua.SecurityPolicyType.NoSecurity)
            continue
        for name in POLICIES[policy]:
            if name.rsplit("_", 1)[1] in options.modes.split(","):
                chosen.append(getattr(ua.SecurityPolicyType, name))
    return chosen


async def main():
    options = arguments()
    users = Users(options)
    server = Server(user_manager=users)
    await server.init()
    await server.set_application_uri(APPLICATION)
    server.set_server_name("Longshore's peer")
    url = f"opc.tcp://127.0.0.1:{options.port or free_port()}/peer"
    server.set_endpoint(url)
    if options.authority:
        certificate, key, authority = signed_certificate(options.pki)
    else:
        (certificate, key), authority = own_certificate(options.pki), ""
    await server.load_certificate(certificate)
    await server.load_private_key(key)
    server.set_security_policy(policies(options))
    server.set_identity_tokens(users.tokens(not options.no_anonymous))
    for number in range(options.namespaces_before):
        await server.register_namespace(f"urn:longshore:before:{number}")
    index = await server.register_namespace(NAMESPACE)
    machine = Machine(server, index, options.clock)
    await machine.fill()
    if options.refuse_subscriptions:

        async def refuse(*_arguments, **_more):
            raise ServiceError(ua.StatusCodes.BadTooManySubscriptions)

        server.iserver.subscription_service.create_subscription = refuse
    refuse_whole(options)
    if options.clock:
        set_clock(options.clock)
    if options.other_url:
        add_other_url(server, url.rsplit(":", 1)[1].split("/")[0])
    await server.start()
    counter = asyncio.create_task(count(machine))
    ready = {
        "url": url,
        "namespace": NAMESPACE,
        "index": index,
        "certificate": str(certificate),
        "authority": str(authority),
    }
    print(json.dumps(ready), flush=True)
    orders = asyncio.create_task(commands(server, machine))
    done, _ = await asyncio.wait([counter, orders], return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()
    atexit._run_exitfuncs()
    os._exit(0)


asyncio.run(main())

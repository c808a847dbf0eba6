"""An asyncua client for the tests: one JSON list a line in, one JSON object a line out.

["connect", url, user, password]   ["namespaces"]            ["endpoints", url]
["read", node]                     ["write", node, type, value]
["call", object, method, [[type, value], …]]
["browse", node]                   ["path", [name, …]]       ["types"]
["subscribe", interval, [node, …], {"queue": n, "sampling": ms, "deadband": x}]
["taken"]  notifications since the last time, as [node, value, status, [overflow]]

An answer is {"ok": …} or {"error": "BadNodeIdUnknown"}.
"""

import asyncio
import json
import logging
import sys

from asyncua import Client, ua
from asyncua.ua.uaerrors import UaStatusCodeError

logging.disable()


def plain(value):
    """Something that JSON can have."""
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (bool, int, float, str)) or value is None:
        return value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, ua.LocalizedText):
        return value.Text
    if isinstance(value, ua.NodeId):
        return value.to_string()
    if hasattr(value, "__dataclass_fields__"):
        return {name: plain(getattr(value, name)) for name in value.__dataclass_fields__ if name != "Encoding"}
    return str(value)


class Handler:
    def __init__(self):
        self.taken = []

    def datachange_notification(self, node, value, data):
        status = data.monitored_item.Value.StatusCode
        name = ua.StatusCode(status.value & 0xFFFF0000).name
        overflow = bool(status.value & 0x80)
        self.taken.append([node.nodeid.to_string(), plain(value), name, overflow])


class Session:
    def __init__(self):
        self.client = None
        self.handler = Handler()

    async def connect(self, url, user=None, password=None):
        self.client = Client(url, timeout=4)
        if user is not None:
            self.client.set_user(user)
            self.client.set_password(password)
        await self.client.connect()

    async def endpoints(self, url):
        found = await Client(url).connect_and_get_server_endpoints()
        return [[e.EndpointUrl, [t.PolicyId for t in e.UserIdentityTokens]] for e in found]

    async def namespaces(self):
        return await self.client.get_namespace_array()

    async def types(self):
        await self.client.load_data_type_definitions()

    async def read(self, node):
        data = await self.client.get_node(node).read_data_value(raise_on_bad_status=False)
        value = data.Value.Value if data.Value is not None else None
        source = data.SourceTimestamp is not None
        return [plain(value), data.StatusCode.name, source]

    async def attribute(self, node, attribute):
        data = await self.client.get_node(node).read_attribute(ua.AttributeIds[attribute])
        return plain(data.Value.Value)

    async def write(self, node, kind, value):
        await self.client.get_node(node).write_value(ua.DataValue(ua.Variant(value, ua.VariantType[kind])))

    async def call(self, node, method, arguments):
        variants = [ua.Variant(value, ua.VariantType[kind]) for kind, value in arguments]
        parent = self.client.get_node(node)
        return plain(await parent.call_method(self.client.get_node(method), *variants))

    async def browse(self, node):
        found = await self.client.get_node(node).get_children_descriptions()
        return [[d.NodeId.to_string(), d.BrowseName.to_string(), d.NodeClass.name] for d in found]

    async def path(self, names):
        return (await self.client.nodes.root.get_child(names)).nodeid.to_string()

    async def subscribe(self, interval, nodes, more):
        subscription = await self.client.create_subscription(interval, self.handler)
        nodes = [self.client.get_node(node) for node in nodes]
        if "deadband" in more:
            kind = ua.DeadbandType[more.get("kind", "Absolute")]
            made = await subscription.deadband_monitor(nodes, more["deadband"], kind, more.get("queue", 0))
        else:
            made = await subscription.subscribe_data_change(
                nodes, queuesize=more.get("queue", 0), sampling_interval=more.get("sampling", -1)
            )
        for item in made:
            if isinstance(item, ua.StatusCode):
                item.check()

    async def taken(self):
        taken, self.handler.taken = self.handler.taken, []
        return taken


async def main():
    session = Session()
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        operation, *arguments = json.loads(line)
        try:
            answer = {"ok": await getattr(session, operation)(*arguments)}
        except UaStatusCodeError as fault:
            answer = {"error": ua.StatusCode(fault.code).name}
        except Exception as fault:  # the test is to read it
            answer = {"error": repr(fault)}
        print(json.dumps(answer), flush=True)


asyncio.run(main())

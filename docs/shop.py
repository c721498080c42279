"""A shop that hands its orders out by lockers: puts orders, and keeps what the fleet tells.

    python3 shop.py FOLDER listen                           # prints what happens, until it is stopped
    python3 shop.py FOLDER put ORDER CABINET SIZE PHONE     # returns when the order is on the fleet's disk

FOLDER is what `fleet person add integration shop` has made. Needs paho-mqtt 2 (`pip install paho-mqtt`) and Python 3.11.
"""

import json
import pathlib
import sqlite3
import sys
import tomllib

import paho.mqtt.client as mqtt
from paho.mqtt.properties import Properties
from paho.mqtt.packettypes import PacketTypes


def connect(folder, name, suffix, **more):
    """A connection with the certificate of the folder. Only the session without a suffix gets the rows of the shop."""
    fleet = tomllib.loads((folder / "fleet.toml").read_text())
    base = f"v1/{fleet['tenant']}/integration/{name}"
    client_id = f"integration:{fleet['tenant']}:{name}{suffix}"
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id, protocol=mqtt.MQTTv5, **more)
    client.tls_set(folder / fleet["roots"], folder / fleet["certificate"], folder / fleet["key"])
    return client, fleet, base


def publish(folder, name, what, order):
    """Returns when the fleet has it on its disk. `what` is the last word of the topic: put, cancel, bundle …"""
    client, fleet, base = connect(folder, name, "~put")
    client.connect(fleet["host"], fleet["port"], clean_start=True)
    client.loop_start()
    refused = []
    client.on_publish = lambda _client, _data, _mid, reason, said: reason.is_failure and refused.append(
        getattr(said, "ReasonString", reason))
    sent = client.publish(f"{base}/orders/{what}", json.dumps(order), qos=1)
    sent.wait_for_publish(30)
    client.disconnect()
    client.loop_stop()
    if refused or not sent.is_published():
        sys.exit(f"not taken: {refused or 'no answer'}")


def listen(folder, name, status, notification):
    """Keeps each row, and shows a new one to `status` or to `notification`."""
    rows = sqlite3.connect(folder / f"{name}.db", check_same_thread=False)
    rows.execute("CREATE TABLE IF NOT EXISTS row (stream TEXT, n INTEGER, body TEXT, PRIMARY KEY (stream, n))")
    client, fleet, base = connect(folder, name, "", manual_ack=True)

    def connected(client, _data, _flags, reason, _properties):
        if reason.is_failure:
            print(f"refused: {reason}", flush=True)
            return
        client.subscribe([(f"{base}/status", 1), (f"{base}/notifications", 1)])

    def told(client, _data, message):
        stream, row = message.topic.rsplit("/", 1)[1], json.loads(message.payload)
        # On disk first, then acknowledged: what is not acknowledged comes again, and then changes nothing.
        with rows:
            new = rows.execute("INSERT OR IGNORE INTO row VALUES (?, ?, ?)", (stream, row["n"], message.payload)).rowcount
        if new:
            (status if stream == "status" else notification)(row)
        client.ack(message.mid, message.qos)

    client.on_connect, client.on_message = connected, told
    # No more rows at a time than may be lost with the process.
    properties = Properties(PacketTypes.CONNECT)
    properties.ReceiveMaximum = 32
    client.connect(fleet["host"], fleet["port"], clean_start=True, properties=properties)
    client.loop_forever(retry_first_connection=True)


def show_status(row):
    print(row["order"], row["state"], row.get("reason", ""), flush=True)


def show_notification(row):
    # Here the shop writes to its customer. The code is for nobody else: not for a log either.
    print(row["order"], row["kind"], "for", row["recipient"].get("phone"), flush=True)


def arguments():
    """Folder, name of the integration, what to do, and the rest."""
    if len(sys.argv) < 3:
        sys.exit(sys.modules["__main__"].__doc__)
    folder = pathlib.Path(sys.argv[1])
    return folder, folder.resolve().name.removeprefix("integration-"), sys.argv[2], sys.argv[3:]


def main():
    match arguments():
        case folder, name, "put", [order, cabinet, size, phone]:
            publish(folder, name, "put", {
                "order": order, "cabinet": cabinet, "size": size, "category": "retail", "recipient": {"phone": phone}})
        case folder, name, "listen", []:
            listen(folder, name, show_status, show_notification)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()

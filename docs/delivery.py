"""A delivery platform whose drivers collect the orders of several customers with one code.

    python3 delivery.py FOLDER listen                       # prints what happens, until it is stopped
    python3 delivery.py FOLDER put ORDER SITE SIZE PHONE    # an order, wherever there is room at a site
    python3 delivery.py FOLDER bundle RUN PHONE ORDER…      # one code for these orders, for the driver with this number
    python3 delivery.py FOLDER cancel ORDER                 # it will not come: the driver's list gets shorter
    python3 delivery.py FOLDER unbundle RUN                 # the driver's code dies, each order gets its own again

FOLDER is what `fleet person add integration rides` has made. shop.py has to lie beside this file; it says what is needed.
"""

import sys

from shop import arguments, listen, publish, show_status


def show_notification(row):
    if "bundle" not in row:
        print(row["order"], row["kind"], "for", row["recipient"].get("phone"), flush=True)
        return
    # `bundle_changed` brings the whole list again: what is not on it is not to be had. The code is for the driver's app alone.
    doors = ", ".join(f"{door['order']} at {door['cabinet']} door {door['compartment']}" for door in row.get("doors", []))
    print(row["bundle"], f"{row['kind']}:", doors or "nothing waits any more", flush=True)


def main():
    match arguments():
        case folder, name, "listen", []:
            listen(folder, name, show_status, show_notification)
        case folder, name, "put", [order, site, size, phone]:
            publish(folder, name, "put", {
                "order": order, "site": site, "size": size, "category": "food", "recipient": {"phone": phone}})
        case folder, name, "bundle", [run, phone, *orders] if orders:
            publish(folder, name, "bundle", {"bundle": run, "orders": orders, "recipient": {"phone": phone}})
        case folder, name, "cancel", [order]:
            publish(folder, name, "cancel", {"order": order})
        case folder, name, "unbundle", [run]:
            publish(folder, name, "unbundle", {"bundle": run})
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()

"""tidegate whose supervisor waits one second for a lock, where it waits half a minute otherwise."""

from tidegate import __main__, daemon, serve

if __name__ == "__main__":
    for door in (daemon, serve):
        vars(door)["PATIENCE"] = 1.0
    __main__.main()

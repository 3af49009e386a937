"""`python -m gateway` is `kubechat-gateway`."""

from gateway.cli import main

if __name__ == "__main__":
    main()

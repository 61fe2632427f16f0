USER nobody
ENTRYPOINT ["/usr/bin/prometheus-alertmanager"]

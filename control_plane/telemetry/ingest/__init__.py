"""The OTLP port: receives telemetry from sidecars and services, queues it and hands it to the stores."""

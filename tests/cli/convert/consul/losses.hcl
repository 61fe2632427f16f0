config_entries { bootstrap = [
  { Kind = "service-router", Name = "orders", Namespace = "shop", Partition = "p", Meta { a = "b" }
    Routes = [
      { Match { HTTP { PathExact = "/a", Header = [{ Name = "x-a", Present = true, Invert = true }] } } }
      { Match { HTTP { PathPrefix = "/b" } }, Destination { Service = "stock", Namespace = "n", Partition = "p", NumRetries = 2 } }
      { Match { HTTP { PathPrefix = "/c" } }, Destination { ServiceSubset = "none" } }
      { Match { HTTP { PathPrefix = "/d" } }, Destination { Service = "far" } }
      { Match { HTTP { PathPrefix = "/e" } }, Destination { NumRetries = 99, RetryOn = ["sometimes", "5xx"], Surprise = 1 } }
    ]
  },
  { Kind = "service-splitter", Name = "stock", Namespace = "shop", Partition = "p"
    Splits = [{ Weight = 50, Service = "stock", Namespace = "n", Partition = "p" }, { Weight = 50, ServiceSubset = "tagged" }] },
  { Kind = "service-resolver", Name = "stock", Namespace = "shop", Partition = "p"
    Subsets { tagged { Filter = "Service.Tags is empty" } }
    Failover { "*" { Datacenters = ["dc2"] } }
    PrioritizeByLocality { Mode = "failover" }
    LoadBalancer {
      Policy             = "ring_hash"
      LeastRequestConfig { ChoiceCount = 3 }
      RingHashConfig     { MinimumRingSize = 10 }
      HashPolicies       = [{ SourceIP = true }, { Field = "cookie", FieldValue = "id", CookieConfig { Path = "/" } }]
    }
  },
  { Kind = "service-resolver", Name = "far"
    Redirect { Service = "near", Namespace = "n", Partition = "p", Datacenter = "dc2", Peer = "other", SamenessGroup = "g" } },
  { Kind = "service-defaults", Name = "orders", Namespace = "shop", Partition = "p"
    UpstreamConfig {
      Defaults {
        PassiveHealthCheck { Interval = "10s", EnforcingConsecutive5xx = 50, MaxEjectionPercent = 10 }
        Protocol = "http", MeshGateway { Mode = "local" }, BalanceOutboundConnections = "exact_balance"
        EnvoyListenerJSON = "{}", EnvoyClusterJSON = "{}"
      }
      Overrides = [{
        Name = "stock", Peer = "other", Namespace = "n", Partition = "p"
        PassiveHealthCheck { Interval = "10s", EnforcingConsecutive5xx = 50, MaxEjectionPercent = 10 }
        Protocol = "http", MeshGateway { Mode = "local" }, BalanceOutboundConnections = "exact_balance"
        EnvoyListenerJSON = "{}", EnvoyClusterJSON = "{}"
      }]
    }
    RateLimits { InstanceLevel { RequestsPerSecond = 10, Routes = [{ PathExact = "/a", RequestsPerSecond = 1 }] } }
    Mode = "transparent", TransparentProxy { DialedDirectly = true }, MutualTLSMode = "permissive"
    MeshGateway { Mode = "local" }, ExternalSNI = "a.example", Expose { Checks = true }
    Destination { Addresses = ["a.example"], Port = 443 }
    MaxInboundConnections = 10, BalanceInboundConnections = "exact_balance"
    LocalConnectTimeoutMs = 10, LocalRequestTimeoutMs = 10
    EnvoyExtensions = [{ Name = "builtin/lua" }]
  },
  { Kind = "proxy-defaults", Name = "global", Namespace = "shop", Partition = "p"
    Config {
      local_connect_timeout_ms   = 10
      local_request_timeout_ms   = 10
      envoy_prometheus_bind_addr = "0.0.0.0:9102"
      envoy_dogstatsd_url        = "udp://127.0.0.1:9125"
      envoy_tracing_json         = "{}"
    }
    AccessLogs { Enabled = true, Path = "/tmp/log", DisableListenerLogs = true, JSONFormat = "{}", TextFormat = "x" }
    Mode = "transparent", TransparentProxy { OutboundListenerPort = 1 }, MutualTLSMode = "permissive"
    MeshGateway { Mode = "local" }, Expose { Checks = true }, FailoverPolicy { Mode = "order-by-locality" }
    PrioritizeByLocality { Mode = "failover" }, EnvoyExtensions = [{ Name = "builtin/lua" }]
  },
  { Kind = "service-intentions", Name = "orders", Namespace = "shop", Partition = "p"
    Sources = [
      { Name = "a", Action = "allow", Namespace = "n" }, { Name = "b", Action = "allow", Partition = "p" },
      { Name = "c", Action = "allow", Peer = "other" }, { Name = "d", Action = "allow", SamenessGroup = "g" },
      { Name = "web", Permissions = [
        { Action = "allow", HTTP { PathRegex = "/a.*" } },
        { Action = "allow", HTTP { PathPrefix = "/v1" }, JWT { Providers = [{ Name = "login" }] } },
        { Action = "allow", HTTP { PathPrefix = "/v2", Header = [{ Name = "x-a", Present = true, Invert = true }] } },
        { Action = "allow", HTTP { PathPrefix = "/v3" } },
      ] },
      { Name = "batch", Permissions = [{ Action = "deny", HTTP { PathPrefix = "/admin" } }, { Action = "allow", HTTP { PathPrefix = "/" } }] },
      { Name = "odd", Action = "sometimes" },
    ]
  },
  { Kind = "service-intentions", Destination { Name = "stock", Namespace = "n" }, JWT { Providers = [{ Name = "login" }] }
    Sources = [{ Name = "web", Action = "allow" }] },
  { Kind = "service-intentions", Name = "*", Sources = [{ Name = "*", Action = "allow" }, { Name = "web", Action = "allow" }, { Name = "spy", Action = "deny" }] },
  { Kind = "ingress-gateway", Name = "edge" },
] }

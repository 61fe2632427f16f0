# What a caller may have open at a service, and what is logged.
config_entries {
  bootstrap = [
    { Kind = "proxy-defaults", Name = "global", Config { protocol = "http" }, AccessLogs { Enabled = true, Type = "stdout" } },
    {
      Kind     = "service-defaults"
      Name     = "front"
      Protocol = "http"
      UpstreamConfig {
        Defaults { Limits { MaxConcurrentRequests = 2, MaxConnections = 2, MaxPendingRequests = 2 } }
        Overrides = [
          { Name = "narrow", Limits { MaxConcurrentRequests = 1, MaxConnections = 1, MaxPendingRequests = 1 } },
        ]
      }
    },
    {
      Kind           = "service-resolver"
      Name           = "shelf"
      LoadBalancer {
        Policy       = "maglev"
        HashPolicies = [{ Field = "cookie", FieldValue = "shelf", CookieConfig { Session = true, TTL = "0s" }, Terminal = true }]
      }
    },
    {
      Kind         = "service-resolver"
      Name         = "tray"
      LoadBalancer { Policy = "ring_hash", HashPolicies = [{ Field = "header", FieldValue = "x-user" }] }
    },
  ]
}

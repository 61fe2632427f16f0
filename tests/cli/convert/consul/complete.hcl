# Every field that is converted, once.
config_entries {
  bootstrap = [
    {
      Kind = "proxy-defaults"
      Name = "global"
      Config { protocol = "http" }
      AccessLogs { Enabled = true, Type = "stdout" }
    },
    {
      Kind     = "service-defaults"
      Name     = "storefront"
      Protocol = "http"
      UpstreamConfig {
        Defaults {
          Limits { MaxConnections = 100, MaxPendingRequests = 10, MaxConcurrentRequests = 50 }
          PassiveHealthCheck { MaxFailures = 4, BaseEjectionTime = "10s" }
          ConnectTimeoutMs = 500
        }
        Overrides = [
          {
            Name               = "catalog"
            Limits             { MaxConnections = 20, MaxPendingRequests = 5, MaxConcurrentRequests = 8 }
            PassiveHealthCheck { MaxFailures = 3, BaseEjectionTime = "20s" }
            ConnectTimeoutMs   = 250
          }
        ]
      }
      RateLimits { InstanceLevel { RequestsPerSecond = 100, RequestsMaxBurst = 150 } }
    },
    {
      Kind           = "service-resolver"
      Name           = "catalog"
      DefaultSubset  = "v1"
      ConnectTimeout = "2s"
      RequestTimeout = "5s"
      Subsets = {
        v1 = { Filter = "Service.Meta.version == v1", OnlyPassing = true }
        v2 = { Filter = "Service.Meta.version == \"v2\" and Service.Meta[\"zone\"] == a" }
        tagged = { Filter = "\"blue\" in Service.Tags" }
        any = {}
      }
      LoadBalancer = {
        Policy = "maglev"
        HashPolicies = [{ Field = "cookie", FieldValue = "id", CookieConfig { Session = true, TTL = "0s" }, Terminal = true }]
      }
    },
    {
      Kind     = "service-resolver"
      Name     = "goods"
      Redirect { Service = "catalog", ServiceSubset = "v2" }
    },
    {
      Kind = "service-splitter"
      Name = "catalog"
      Splits = [
        { Weight = 90, ServiceSubset = "v1", RequestHeaders { Add { x-one = "1" }, Set { x-was = "old" }, Remove = ["x-debug"] } },
        { Weight = 9.5, ServiceSubset = "v2", ResponseHeaders { Add { x-by = "mesh" }, Set { x-two = "2" }, Remove = ["server"] } },
        { Weight = 0.5, Service = "prices" },
      ]
    },
    {
      Kind = "service-router"
      Name = "catalog"
      Routes = [
        {
          Match { HTTP {
            PathPrefix = "/old"
            Methods    = ["GET", "HEAD"]
            Header = [
              { Name = "x-a", Exact = "1" }, { Name = "x-b", Prefix = "b" }, { Name = "x-c", Suffix = "c" },
              { Name = "x-d", Contains = "d", IgnoreCase = true }, { Name = "x-e", Regex = "e+" }, { Name = "x-f", Present = true },
            ]
            QueryParam = [{ Name = "q", Exact = "1" }, { Name = "r", Regex = "[0-9]+" }, { Name = "s", Present = true }]
          } }
          Destination {
            Service               = "catalog"
            ServiceSubset         = "v2"
            PrefixRewrite         = "/new"
            RequestTimeout        = "3s"
            IdleTimeout           = "10s"
            NumRetries            = 3
            RetryOnConnectFailure = true
            RetryOn               = ["gateway-error"]
            RetryOnStatusCodes    = [429]
            RequestHeaders { Add { x-one = "1" }, Set { x-was = "old" }, Remove = ["x-debug"] }
            ResponseHeaders { Add { x-by = "mesh" }, Set { x-two = "2" }, Remove = ["server"] }
          }
        },
        { Match { HTTP { PathExact = "/Prices", CaseInsensitive = true } }, Destination { Service = "prices" } },
        { Match { HTTP { PathRegex = "/goods/[0-9]+" } }, Destination { Service = "goods" } },
      ]
    },
    {
      Kind = "service-intentions"
      Destination { Name = "catalog" }
      Sources = [
        { Name = "storefront", Action = "allow", Type = "consul", Description = "the shop", Precedence = 9 },
        {
          Name = "batch"
          Permissions = [
            { Action = "deny", HTTP { PathPrefix = "/admin/" } },
            { Action = "allow", HTTP { PathExact = "/all", Methods = ["GET"], Header = [
              { Name = "x-a", Exact = "1" }, { Name = "x-b", Prefix = "b" }, { Name = "x-c", Suffix = "c" },
              { Name = "x-d", Contains = "d", IgnoreCase = true }, { Name = "x-e", Regex = "e+" }, { Name = "x-f", Present = true },
            ] } },
          ]
        },
        { Name = "*", Action = "deny" },
      ]
    },
    {
      kind    = "service-intentions"
      name    = "*"
      sources = [{ name = "operator", action = "allow" }]
    },
  ]
}

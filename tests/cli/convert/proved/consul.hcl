# What Consul's documentation shows, for services of the same mesh.
config_entries {
  bootstrap = [
    { Kind = "proxy-defaults", Name = "global", Config { protocol = "http" } },
    {
      Kind    = "service-resolver"
      Name    = "ledger"
      Subsets = {
        v1 = { Filter = "Service.Meta.version == v1" }
        v2 = { Filter = "Service.Meta.version == v2" }
      }
      DefaultSubset = "v1"
    },
    { Kind = "service-resolver", Name = "books", Redirect { Service = "ledger", ServiceSubset = "v2" } },
    {
      Kind   = "service-router"
      Name   = "ledger"
      Routes = [
        {
          Match { HTTP { Header = [{ Name = "x-tester", Exact = "yes" }] } }
          Destination { ServiceSubset = "v2", RequestHeaders { Set { x-was = "tester" }, Remove = ["x-debug"] } }
        },
        { Match { HTTP { PathPrefix = "/old" } }, Destination { PrefixRewrite = "/new" } },
        {
          Match { HTTP { PathExact = "/flaky", Methods = ["GET"] } }
          Destination { NumRetries = 2, RetryOnStatusCodes = [503] }
        },
        { Match { HTTP { PathExact = "/slow" } }, Destination { RequestTimeout = "200ms" } },
        { Match { HTTP { PathExact = "/split" } }, Destination { Service = "shares" } },
        { Match { HTTP { PathExact = "/marked" } }, Destination { Service = "marks" } },
        { Match { HTTP { PathExact = "/silent" } }, Destination { IdleTimeout = "500ms" } },
        {
          Match { HTTP { PathExact = "/gateway" } }
          Destination { NumRetries = 2, RetryOn = ["gateway-error"], RetryOnConnectFailure = true }
        },
        {
          Match { HTTP {
            PathRegex = "/any/[0-9]+", CaseInsensitive = true
            Header = [
              { Name = "x-prefix", Prefix = "a" }, { Name = "x-suffix", Suffix = "b" },
              { Name = "x-contains", Contains = "c", IgnoreCase = true }, { Name = "x-regex", Regex = "d+" },
              { Name = "x-present", Present = true },
            ]
            QueryParam = [{ Name = "q", Exact = "1" }, { Name = "r", Regex = "[0-9]+" }, { Name = "s", Present = true }]
          } }
          Destination {
            ServiceSubset = "v2"
            RequestHeaders { Add { x-more = "2" } }
            ResponseHeaders { Add { x-more = "3" }, Set { x-set = "4" }, Remove = ["x-secret"] }
          }
        },
      ]
    },
    {
      Kind   = "service-splitter"
      Name   = "shares"
      Splits = [
        { Weight = 75, Service = "ledger" },
        { Weight = 25, Service = "ledger", ServiceSubset = "v2" },
      ]
    },
    {
      Kind   = "service-splitter"
      Name   = "marks"
      Splits = [{
        Weight = 100, Service = "ledger"
        RequestHeaders { Add { x-more = "5" }, Set { x-was = "split" }, Remove = ["x-debug"] }
        ResponseHeaders { Add { x-more = "6" }, Set { x-set = "7" }, Remove = ["x-secret"] }
      }]
    },
    { Kind = "service-resolver", Name = "journal", RequestTimeout = "500ms" },
    {
      Kind     = "service-defaults"
      Name     = "audit"
      Protocol = "http"
      UpstreamConfig {
        Defaults { PassiveHealthCheck { MaxFailures = 2, BaseEjectionTime = "1h" } }
        Overrides = [{ Name = "journal", PassiveHealthCheck { MaxFailures = 4, BaseEjectionTime = "1h" } }]
      }
    },
    {
      Kind = "service-intentions"
      Destination { Name = "journal" }
      Sources = [
        { Name = "audit", Action = "allow", Type = "consul", Description = "the auditors", Precedence = 9 },
        {
          Name        = "page"
          Permissions = [
            { Action = "allow", HTTP { PathExact = "/all", Header = [
              { Name = "x-exact", Exact = "1" }, { Name = "x-prefix", Prefix = "a" }, { Name = "x-suffix", Suffix = "b" },
              { Name = "x-contains", Contains = "c", IgnoreCase = true }, { Name = "x-regex", Regex = "d+" },
              { Name = "x-present", Present = true },
            ] } },
            { Action = "allow", HTTP { PathExact = "/slow" } },
          ]
        },
      ]
    },
    {
      Kind    = "service-intentions"
      Name    = "ledger"
      Sources = [
        { Name = "page", Action = "allow" },
        {
          Name        = "stock"
          Permissions = [
            { Action = "deny", HTTP { PathPrefix = "/admin/" } },
            { Action = "allow", HTTP { PathPrefix = "/", Methods = ["GET"] } },
          ]
        },
      ]
    },
  ]
}

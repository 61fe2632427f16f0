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

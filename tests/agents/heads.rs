//! What agents and libraries send to open a tunnel, read in their sources or captured on the wire: order,
//! case and oddities as they are there. Credentials are `user:pass`.

use crate::WORKSPACE;

/// The credentials as every client here sends them.
pub const CREDENTIALS: &str = "dXNlcjpwYXNz";

/// A client.
#[derive(Clone, Copy, Debug)]
pub struct Agent {
    /// Who it is, and what of it sends this.
    pub name: &'static str,
    /// Its request; `@` is the host.
    head: &'static str,
    /// What it asks for; `{}` is the workspace.
    host: &'static str,
    /// Whether it offers TLS 1.3.
    pub offers_13: bool,
    /// Who ends the tunnel, and how.
    pub leaves: Leaves,
}

/// How a tunnel ends. What an agent does depends on its version and on the server, and no record says
/// which, so the table has each of them with several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaves {
    /// The client ends once it has the answer.
    AfterTheAnswer,
    /// The client sends no more once it has uploaded, and then waits for the answer.
    BeforeTheAnswer,
    /// The client resets once it has the answer.
    ByReset,
    /// The server ends behind its answer.
    AfterTheServer,
}

use Leaves::{AfterTheAnswer, AfterTheServer, BeforeTheAnswer, ByReset};

impl Agent {
    /// The host that it asks for.
    pub fn host(&self) -> String {
        self.host.replace("{}", WORKSPACE)
    }

    /// Its request.
    pub fn head(&self) -> Vec<u8> {
        self.head.replace('@', &self.host()).into_bytes()
    }
}

const fn agent(
    name: &'static str,
    host: &'static str,
    head: &'static str,
    offers_13: bool,
    leaves: Leaves,
) -> Agent {
    Agent { name, head, host, offers_13, leaves }
}

const DATA: &str = "{}.ods.opinsights.azure.com";
const REGISTRATION: &str = "{}.oms.opinsights.azure.com";
const AUTOMATION: &str = "{}.agentsvc.azure-automation.net";
const CONTROL: &str = "global.handler.control.monitor.azure.com";
const RULES: &str = "westeurope.handler.control.monitor.azure.com";
const ENDPOINT: &str = "logs-4f2a.westeurope-1.ingest.monitor.azure.com";

/// All of them.
pub const AGENTS: &[Agent] = &[
    agent(
        "Log Analytics agent for Linux, plugins (Ruby Net::HTTP)",
        DATA,
        "CONNECT @:443 HTTP/1.1\r\nHost: @:443\r\n\r\n",
        false,
        AfterTheAnswer,
    ),
    agent(
        "Log Analytics agent for Linux, plugins with credentials in proxy.conf",
        DATA,
        "CONNECT @:443 HTTP/1.1\r\nHost: @:443\r\nProxy-Authorization: Basic dXNlcjpwYXNz\r\n\r\n",
        false,
        AfterTheServer,
    ),
    agent(
        "Log Analytics agent for Linux, omsadmin.sh (curl)",
        REGISTRATION,
        "CONNECT @:443 HTTP/1.1\r\nHost: @:443\r\nProxy-Authorization: Basic dXNlcjpwYXNz\r\n\
         User-Agent: curl/7.61.1\r\nProxy-Connection: Keep-Alive\r\n\r\n",
        true,
        AfterTheAnswer,
    ),
    agent(
        "Log Analytics agent for Linux, DSC (libcurl)",
        AUTOMATION,
        "CONNECT @:443 HTTP/1.1\r\nHost: @:443\r\nUser-Agent: curl/7.29.0\r\n\
         Proxy-Connection: Keep-Alive\r\n\r\n",
        false,
        ByReset,
    ),
    agent(
        "Microsoft Monitoring Agent and Operations Manager (WinHTTP), HTTP/1.0",
        DATA,
        "CONNECT @:443 HTTP/1.0\r\nUser-Agent: Mozilla/4.0 (compatible; Win32; \
         WinHttp.WinHttpRequest.5)\r\nHost: @\r\nContent-Length: 0\r\n\
         Proxy-Connection: Keep-Alive\r\nPragma: no-cache\r\n\r\n",
        false,
        ByReset,
    ),
    agent(
        "Microsoft Monitoring Agent and Operations Manager (WinHTTP), HTTP/1.1",
        REGISTRATION,
        "CONNECT @:443 HTTP/1.1\r\nUser-Agent: Mozilla/4.0 (compatible; Win32; \
         WinHttp.WinHttpRequest.5)\r\nHost: @\r\nContent-Length: 0\r\nConnection: Keep-Alive\r\n\
         Pragma: no-cache\r\n\r\n",
        false,
        AfterTheServer,
    ),
    agent(
        "Azure Monitor Agent, its troubleshooter (openssl s_client)",
        RULES,
        "CONNECT @:443 HTTP/1.0\r\nProxy-Connection: Keep-Alive\r\n\r\n",
        true,
        BeforeTheAnswer,
    ),
    agent(
        "Azure Monitor Agent, its troubleshooter with credentials",
        DATA,
        "CONNECT @:443 HTTP/1.0\r\nProxy-Connection: Keep-Alive\r\n\
         Proxy-Authorization: Basic dXNlcjpwYXNz\r\n\r\n",
        true,
        ByReset,
    ),
    agent(
        "Azure Monitor Agent, its probe of the control service (curl)",
        CONTROL,
        "CONNECT @:443 HTTP/1.1\r\nHost: @:443\r\nUser-Agent: curl/7.76.1\r\n\
         Proxy-Connection: Keep-Alive\r\n\r\n",
        true,
        AfterTheAnswer,
    ),
    agent(
        "Azure Monitor Agent for Linux (the C++ REST SDK)",
        ENDPOINT,
        "CONNECT @:443 HTTP/1.1\r\nHost: @:443\r\nProxy-Connection: Keep-Alive\r\n\r\n",
        true,
        AfterTheServer,
    ),
    agent("Python 3.6 to 3.11", ENDPOINT, "CONNECT @:443 HTTP/1.0\r\n\r\n", true, AfterTheAnswer),
    agent(
        "Python 3.6 to 3.11 with credentials",
        ENDPOINT,
        "CONNECT @:443 HTTP/1.0\r\nProxy-Authorization: Basic dXNlcjpwYXNz\r\n\r\n",
        true,
        ByReset,
    ),
    agent(
        "Python 3.12 and later",
        ENDPOINT,
        "CONNECT @:443 HTTP/1.1\r\nHost: @:443\r\n\r\n",
        true,
        BeforeTheAnswer,
    ),
    agent(
        "Azure Arc: azcmagent and himds (Go)",
        "gbl.his.arc.azure.com",
        "CONNECT @:443 HTTP/1.1\r\nHost: @:443\r\nUser-Agent: Go-http-client/1.1\r\n\r\n",
        true,
        AfterTheAnswer,
    ),
    agent(
        "Azure Arc, notifications (Go), with credentials",
        "azgn-westeurope-public-1p-weuam3-004.servicebus.windows.net",
        "CONNECT @:443 HTTP/1.1\r\nHost: @:443\r\nUser-Agent: Go-http-client/1.1\r\n\
         Proxy-Authorization: Basic dXNlcjpwYXNz\r\n\r\n",
        true,
        AfterTheServer,
    ),
    agent(
        "Hybrid Runbook Worker and Arc extensions (.NET)",
        "we-jobruntimedata-prod-su1.azure-automation.net",
        "CONNECT @:443 HTTP/1.1\r\nHost: @:443\r\n\r\n",
        true,
        ByReset,
    ),
    agent(
        "Hybrid Runbook Worker (.NET), registration",
        "we-agentservice-prod-1.azure-automation.net",
        "CONNECT @:443 HTTP/1.1\r\nHost: @:443\r\nUser-Agent: HybridWorker/1.0\r\n\r\n",
        false,
        AfterTheAnswer,
    ),
    agent(
        "fluent-bit",
        DATA,
        "CONNECT @:443 HTTP/1.1\r\nProxy-Connection: KeepAlive\r\nHost: @\r\nContent-Length: 0\r\n\
         User-Agent: Fluent-Bit\r\n\r\n",
        true,
        AfterTheAnswer,
    ),
    agent(
        "fluent-bit with credentials",
        ENDPOINT,
        "CONNECT @:443 HTTP/1.1\r\nProxy-Authorization: Basic dXNlcjpwYXNz\r\n\
         Proxy-Connection: KeepAlive\r\nHost: @\r\nContent-Length: 0\r\nUser-Agent: Fluent-Bit\r\n\r\n",
        true,
        AfterTheServer,
    ),
    agent(
        "node-tunnel and libraries like it, whose Host is the gateway",
        DATA,
        "CONNECT @:443 HTTP/1.1\r\nHost: gateway.example.com:8080\r\n\r\n",
        true,
        BeforeTheAnswer,
    ),
];

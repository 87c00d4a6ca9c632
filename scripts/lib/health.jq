# The answer of GET /health as one line, and what keeps the controller from being well.
def span: floor
  | if . >= 86400 then "\(. / 86400 | floor) d \(. % 86400 / 3600 | floor) h"
    elif . >= 3600 then "\(. / 3600 | floor) h \(. % 3600 / 60 | floor) min"
    elif . >= 60 then "\(. / 60 | floor) min"
    else "\(.) s" end;

"stream-controller \(.version): \(.status), up \(.uptime_s | span)",
(.problem // empty | "  problem      \(.)"),
(if .streams == [] then "no stream is configured: see docs/configuration.md" else empty end)

# $controller (GET /health) and the answer of GET /streams/status as `CODE WORD: details`.
def of_stream:
  if .state == "error" then {code: 2}
  elif .desired != "running" then {code: 0}
  elif .state == "running" then {code: 0}
  elif .state == "degraded" or .state == "starting" then {code: 1}
  else {code: 2} end
  | .code;
def details:
  "\(.stream_id) \(.state)" + (if .state == "stopped" and .desired == "stopped" then " as wanted" else "" end)
  + ([.destinations[] | select(.state != "live") | "\(.name) \(.state)"]
     | if . == [] then "" else " (" + join(", ") + ")" end)
  + (if .on_air.kind == "slate" then " [slate: \(.on_air.reason // "no reason given")]" else "" end)
  + (if .error then " [\(.error.type)]" else "" end);

[if has("streams") then .streams[] else . end] as $streams
| ([$streams[] | of_stream, 0] + [if $controller.status == "ok" then 0 else 1 end] | max) as $code
| [ (if $controller.status == "ok" then empty
     else "controller \($controller.status)" + (if $controller.problem then ": \($controller.problem)" else "" end)
     end),
    ($streams[] | details) ] as $details
| "\($code) \(["healthy", "degraded", "down"][$code]): "
  + (if $details == [] then "no stream is configured" else $details | join("; ") end)

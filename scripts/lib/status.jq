# The answer of GET /streams/status for people: what the viewer sees, then what is wrong.
def span: floor
  | if . >= 86400 then "\(. / 86400 | floor) d \(. % 86400 / 3600 | floor) h"
    elif . >= 3600 then "\(. / 3600 | floor) h \(. % 3600 / 60 | floor) min"
    elif . >= 60 then "\(. / 60 | floor) min"
    else "\(.) s" end;
def pad(width): . + " " * ([width - length, 0] | max);
def seconds: sub("\\.[0-9]+"; "") | fromdateiso8601;
def ago: now - seconds | if . < 0 then 0 else . end | span;
def until: seconds - now | if . < 0 then 0 else . end | span;
def clock: floor
  | [. / 3600, . % 3600 / 60, . % 60]
  | map(floor | tostring | if length < 2 then "0" + . else . end)
  | join(":");
def row(name): "  \(name | pad(12)) \(.)";
def why: "\(.type): \(.message)", (select((.hint // "") != "") | "→ \(.hint)");
def rows(name): [why] | (.[0] | row(name)), (.[1:][] | row(""));

def on_air:
  if . == null then "nothing"
  else
    (.kind + (if .item then " " + .item else "" end))
    + (if .kind == "programme" then
         "  " + (.position_s | clock) + (if .duration_s then " of " + (.duration_s | clock) else "" end)
       else " for \(.since | ago)" end)
    + (if .fit.how then "  (\(.fit.how))" else "" end)
    + (if .reason then ", because \(.reason)" else "" end)
    + (if .next then "; next \(.next)" else "" end)
  end;

def destination:
  (.state | pad(10))
  + (if .state == "live" then " for \(.since | ago), \(.bitrate_kbps) kbit/s, \(.dropped_frames) frames dropped"
     elif .next_retry_at then " try \(.retry_count + 1) in \(.next_retry_at | until)"
     else " since \(.since | ago)" end)
  + "  " + .url;

# Who can go live: on air or not, what arrives, why not.
def live_input:
  (if .on_air then "on air" else .state end | pad(10))
  + " since \(.since | ago)"
  + (if .state == "ready" and .media then ", \(.media)" + (if .copied == false then ", transcoded" else "" end) else "" end)
  + (if .from then "  " + .from else "" end);

# Whether the stream's error is that of a destination, or of its programme, which has a line of its own.
def told_below: .error as $error
  | any(.programme.error, (.destinations[] | select(.state != "live") | .error);
        . != null and .message != "" and .type == $error.type
        and (.message as $message | $error.message | endswith($message)));

(if has("streams") then .streams[] else . end)
| "",
  "\(.stream_id): \(.state) for \(.since | ago)"
    + (if .pid then ", pid \(.pid)" else "" end)
    + (if .restarts > 0 then ", \(.restarts) restart(s)" else "" end)
    + (if .next_restart_at then ", next start in \(.next_restart_at | until)" else "" end),
  (select(.error and (told_below | not)) | .error | rows("error")),
  (select(.restart_needed) | "the new format applies after scripts/restart.sh" | row("note")),
  (select(.state != "stopped") | .on_air | on_air | row("on air")),
  (.destinations[]
    | .name as $name
    | (destination | row($name)),
      (select(.state != "live" and .error) | .error | rows(""))),
  (.live_inputs[]?
    | .name as $name
    | (live_input | row("live \($name)")),
      (select(.on_air | not) | select(.error) | .error | rows(""))),
  (.programme | select(.error) | .error | rows("programme")),
  (.programme.problems[]? | "\(.key): " + ([.error | why] | join(" ")) | row("skipped"))

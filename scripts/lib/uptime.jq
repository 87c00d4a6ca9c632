# The answer of GET /health/uptime: one line for each destination.
def span: if . >= 3600 then "\(. / 3600 | floor) h \(. % 3600 / 60 | floor) min"
  elif . >= 60 then "\(. / 60 | floor) min \(. % 60 | floor) s"
  else "\(. * 10 | round / 10) s" end;
# Rounded down: 100 % is said only of a day without a dark second.
def percent: if . == null then "nothing wanted"
  else "\(. * 100000 | floor / 1000) %" end;
def pad(width): . + " " * ([width - length, 0] | max);
def incident: if . == null then "no incident"
  else "last incident \(.start | sub("\\.[0-9]+"; "")): \(.cause)"
    + (if .error_type then " (\(.error_type))" else "" end)
    + (if .end then ", \(.length_s | span)" else ", dark for \(.length_s | span)" end)
  end;

[.streams[] | .stream_id as $stream | .destinations[]
  | "  \("\($stream)/\(.name)" | pad(20)) \(.availability | percent), longest gap \((.longest_gap_s // 0) | span), \(.last_incident | incident)"]
| select(length > 0)
| "", "last 24 h", .[]

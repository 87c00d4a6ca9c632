# The answer of GET /health/transitions: the newest live session of each stream in a line.
def span: if . >= 3600 then "\(. / 3600 | floor) h \(. % 3600 / 60 | floor) min"
  elif . >= 60 then "\(. / 60 | floor) min \(. % 60 | floor) s"
  else "\(. * 10 | round / 10) s" end;
def second: sub("\\.[0-9]+"; "");
def pad(width): . + " " * ([width - length, 0] | max);

[.sessions | group_by(.stream_id)[] | max_by(.asked_at // .on_air_at)
  | "  \("\(.stream_id)/\(.input)" | pad(20)) "
    + (if .on_air_at == null then "asked for \(.asked_at | second), never on air"
       else "\(.on_air_at | second)"
         + (if .off_at then ", \(.on_air_s | span)" else ", on air now" end)
       end)
    + (if .ended then ", \(.ended | gsub("_"; " "))" else "" end)]
| select(length > 0)
| "", "last live", .[]

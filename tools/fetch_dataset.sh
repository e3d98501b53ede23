#!/usr/bin/env bash
# Downloads, checks and unpacks the Sentinel-1 maritime mesocyclone dataset (Grahn & Bianchi,
# doi:10.18710/FV5T9U at DataverseNO): train/{pos,neg}/*.png and test/{pos,neg}/*.png.
#   tools/fetch_dataset.sh [--server URL] [--expect COUNTS] [DIR]
# DIR receives train and test (default: datasets/polar-lows in the repository, which git ignores).
#   --server URL     another Dataverse that serves the dataset (default https://dataverse.no)
#   --expect COUNTS  PNG files by folder, where they are no longer those of the paper (default:
#                    train/pos=254,train/neg=1293,test/pos=64,test/neg=371)
# Sizes, checksums and addresses come from the server's metadata. The same command goes on where an
# earlier one was interrupted, and does nothing where all is there. While it works its files are in
# DIR/.fetch; a train.zip or test.zip that lies in DIR already, from a browser say, is used if it is
# right. Proxies are taken from the environment, as curl does. Needs curl, jq (metadata) and unzip,
# which tools/setup.sh installs.
# Environment: FULMAR_FETCH_WAIT is the pause before a second try in seconds, doubled up to a minute
# before later ones (default 2), FULMAR_FETCH_STALL the seconds without a byte after which a
# connection counts as dropped (default 60).
# The last line on standard output is the folder. Exit codes: 0 done, 2 wrong arguments, 3 a file
# that can't be fetched, read, understood or written, 130 interrupted.
set -euo pipefail

doi=doi:10.18710/FV5T9U
declare -A published_as=([train]=$doi/QHV7PJ [test]=$doi/Z7JPFT)
expect=train/pos=254,train/neg=1293,test/pos=64,test/neg=371
server=https://dataverse.no
first_wait=${FULMAR_FETCH_WAIT:-2}
stall=${FULMAR_FETCH_STALL:-60}
max_tries=6  # in a row without a byte more
dir=
child=  # process to end when interrupted

say() { printf 'fetch: %s\n' "$*" >&2; }
fail() { say "$*"; exit 3; }
usage() {
  say "$1"
  echo "usage: tools/fetch_dataset.sh [--server URL] [--expect COUNTS] [DIR]" >&2
  exit 2
}

while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit ;;
    --server | --expect)
      [ $# -ge 2 ] || usage "$1 needs a value"
      if [ "$1" = --server ]; then server=$2; else expect=$2; fi
      shift
      ;;
    -*) usage "no such option: $1" ;;
    "") usage "the folder's name is empty" ;;
    *)
      [ -z "$dir" ] || usage "one folder, not two: $dir and $1"
      dir=$1
      ;;
  esac
  shift
done
server=${server%/}
[[ $server =~ ^https?://[^[:space:]]+$ ]] ||
  usage "--server takes http://… or https://…, not '$server'"
curl=(--silent --location --max-redirs 10 --proto "=https")
[[ $server = https:* ]] || curl+=(--proto "=http,https")
[[ $expect =~ ^((train|test)/[^,=/]+=[0-9]+(,|$))+$ && $expect != *, && ,$expect == *,train/* &&
  ,$expect == *,test/* ]] || usage "--expect takes train/CLASS=N,…,test/CLASS=N,… not '$expect'"
[[ $first_wait =~ ^(0|[1-9][0-9]{0,3})$ && $stall =~ ^[1-9][0-9]{0,4}$ ]] ||
  usage "FULMAR_FETCH_WAIT and FULMAR_FETCH_STALL take whole seconds, not '$first_wait', '$stall'"
for tool in curl jq unzip md5sum flock numfmt; do
  command -v "$tool" >/dev/null || fail "$tool is not installed: see tools/setup.sh"
done

dir=$(realpath -m -- "${dir:-$(dirname -- "$0")/../datasets/polar-lows}")
state=$dir/.fetch
unpacked=$state/unpacked
mkdir -p -- "$state" || fail "$dir: can't make this folder; name another one"
exec 9>"$state/lock" || fail "$state: can't write there; name another folder"
flock -n 9 || fail "$dir: another fetch is working there; let it end"

clean() { rm -rf -- "$unpacked" "$state/log" "$state/answer" "$state/sum"; }
clean  # after an end by force
interrupted() {
  trap '' INT TERM HUP
  if [ -n "$child" ]; then
    kill "$child" 2>/dev/null || true
    wait "$child" 2>/dev/null || true
  fi
  say "interrupted; what was downloaded is kept in $state: the same command goes on"
  exit 130
}
trap clean EXIT
trap interrupted INT TERM HUP

run() {  # run COMMAND…: as a child that a signal to this script ends at once
  local code=0
  "$@" 9>&- &
  child=$!
  wait "$child" || code=$?
  child=
  return "$code"
}
size_of() { stat -c %s -- "$1" 2>/dev/null || echo 0; }
human() { numfmt --to=si --suffix=B --format=%.1f "$1"; }
free_bytes() { df --output=avail -B1 -- "$dir" | tail -n 1 | tr -d ' '; }
room() {
  local free
  free=$(free_bytes)
  if [[ $free =~ ^[0-9]+$ ]]; then human "$free"; else echo "an unknown number of bytes"; fi
}

# need BYTES WHAT: is there that much free space?
need() {
  local free
  free=$(free_bytes)
  if ! [[ $free =~ ^[0-9]+$ ]]; then
    say "can't tell how much space is free in $dir; $2 needs $(human "$1")"
  elif [ "$free" -lt "$1" ]; then
    fail "$dir: $2 needs $(human "$1"), but $(human "$free") are free; make room or name another" \
      "folder"
  fi
}

# get URL FILE SIZE: one try, going on where FILE ends. Sets http and kind (content type) and reason
# (what curl says); its status is curl's. SIZE 0: not known.
get() {
  local from pipe line code seen=$SECONDS have begun=$EPOCHREALTIME options=()
  from=$(size_of "$2")
  [ "$from" = 0 ] || options=(--continue-at "$from")
  http=000 kind=
  # The pipe ends when curl does, so nothing is lost by waiting for it.
  exec {pipe}< <(exec 9>&-; exec curl "${curl[@]}" --show-error --fail "${options[@]}" \
    --connect-timeout 30 --speed-limit 1 --speed-time "$stall" --output "$2" --write-out \
    '%{http_code} %{content_type}\n' -- "$1" 2>"$state/log")
  child=$!
  while :; do
    code=0
    IFS= read -r -t 1 -u "$pipe" line || code=$?
    if [ "$code" = 0 ]; then read -r http kind <<<"$line"; elif [ "$code" -le 128 ]; then break; fi
    if [ "$3" = 0 ] || [ "$code" = 0 ]; then continue; fi
    have=$(size_of "$2")
    if [ "$have" -gt "$3" ]; then kill "$child" 2>/dev/null || true; fi
    if [ -t 2 ]; then
      printf '\r\033[Kfetch: %s' "$(progress "$have" "$3" "$from" "$begun")" >&2
    elif [ $((SECONDS - seen)) -ge 30 ]; then
      seen=$SECONDS
      say "$(progress "$have" "$3" "$from" "$begun")"
    fi
  done
  exec {pipe}<&-
  code=0
  wait "$child" || code=$?
  child=
  if [ -t 2 ] && [ "$3" -gt 0 ]; then printf '\r\033[K' >&2; fi
  reason=$(tail -n 1 "$state/log" | sed 's/^curl: //')
  return "$code"
}
progress() {  # progress HAVE SIZE FROM BEGUN
  local ms=$(((${EPOCHREALTIME//[.,]/} - ${4//[.,]/}) / 1000 + 1))
  echo "$name: $(($1 * 100 / $2)) % of $(human "$2"), $(human $((($1 - $3) * 1000 / ms)))/s"
}

# said FILE: what an answer that is not a file says: Dataverse's own message, or that it is a page.
said() {
  local message
  if message=$(jq -er 'select(.status == "ERROR") | .message' "$1" 2>/dev/null); then
    printf 'the server says: %s' "$message" | tr '\n' ' ' | cut -c 1-300
  elif head -c 4096 -- "$1" | tr -d '\0' | grep -qi '<html\|<!doctype'; then
    echo "the answer is a web page: a login, a guestbook, a proxy's notice or not a Dataverse?"
  else
    echo "the answer is neither the file nor a message of Dataverse"
  fi
}
by_hand() {
  [ "$name" != metadata ] || return 0
  echo ". If a browser gets it from https://doi.org/${doi#doi:}, put $name into $dir" \
    "and run this again"
}
# ask URL: fetches an error's answer once more, to read what it says.
ask() {
  run curl "${curl[@]}" --max-time 60 --max-filesize 100000 --output "$state/answer" -- "$1" || true
  [ -e "$state/answer" ] || : >"$state/answer"
}

# fetch URL FILE SIZE: until FILE has SIZE bytes (0: whatever comes), with pauses between tries.
fetch() {
  local code have from best wait=$first_wait tries=0 restarted=no
  [ "$3" -gt 0 ] || rm -f -- "$2"
  best=$(size_of "$2")
  while :; do
    from=$(size_of "$2")
    if [ "$3" -gt 0 ] && [ "$from" = "$3" ]; then return 0; fi
    code=0
    get "$1" "$2" "$3" || code=$?
    have=$(size_of "$2")
    if [ "$code" = 0 ] && [ "$3" = 0 ]; then return 0; fi
    # A page in place of the file; with 33 (no ranges) what is there was not touched.
    if [[ $code = 33 || ($code = 0 && $from = 0) ]] &&
      [[ $kind = text/html* || $kind = application/json* ]]; then
      [ "$code" = 33 ] || rm -f -- "$2"
      ask "$1"
      fail "$name: not served: $(said "$state/answer")$(by_hand)"
    fi
    if [ "$code" = 0 ] && [ "$have" = "$3" ]; then return 0; fi
    if [ "$code" = 33 ]; then
      say "$name: the server can't go on from $(human "$from"); starting over"
      rm -f -- "$2"
      continue
    fi
    if [ "$http" = 416 ] || { [ "$3" -gt 0 ] && [ "$have" -gt "$3" ]; }; then
      rm -f -- "$2"
      reason="the server's file has not the $3 bytes that the metadata state"
      [ "$restarted" = no ] || fail "$name: $reason; nothing is kept. Try later, or tell $server"
      say "$name: $reason; starting over"
      restarted=yes best=0
      continue
    fi
    case $code:$http in
      22:408 | 22:425 | 22:429) ;;
      22:4??)
        case $http in
          401 | 403) reason="it is not open to all (HTTP $http)" ;;
          404 | 410) reason="it is not there (HTTP $http); is --server $server right?" ;;
          *) reason="HTTP $http" ;;
        esac
        ask "$1"
        fail "$name: $reason; $(said "$state/answer")$(by_hand)"
        ;;
      23:*) fail "$2: can't be written ($reason); $(room) are free. Make room: the same command" \
        "goes on" ;;
      2:* | 3:* | 4:* | 5:* | 47:* | 51:* | 58:* | 60:* | 77:*)
        fail "$name: $reason. Check --server, the proxy's variables and the certificates" ;;
      1:*) fail "$name: $reason; a redirect away from https is not followed" ;;
    esac
    [ "$code" != 0 ] || reason="the connection ended early"
    if [ "$have" -gt "$best" ]; then best=$have tries=0 wait=$first_wait; else
      tries=$((tries + 1))
    fi
    [ "$tries" -lt "$max_tries" ] || fail "$name: $reason; given up after $tries tries without a" \
      "byte more. What is there is kept: the same command goes on"
    if [ "$3" -gt 0 ]; then reason="$reason, at $(human "$have") of $(human "$3")"; fi
    say "$name: $reason; next try in $wait s"
    run sleep "$wait"
    wait=$((wait * 2 < 60 ? wait * 2 : 60))
  done
}

# counts SET FOLDER: PNG files by class folder, as --expect writes them.
counts() {
  local class list=() LC_ALL=C IFS=,
  for class in "$2"/*/; do
    [ -d "$class" ] || continue
    class=${class%/}
    list+=("$1/${class##*/}=$(find "$class/" -type f -iname '*.png' | wc -l)")
  done
  echo "${list[*]-}"
}
declare -A expected
for set in train test; do
  expected[$set]=$(tr , '\n' <<<"$expect" | grep "^$set/" | LC_ALL=C sort | paste -sd, -)
done
# Names and sizes of the PNG files, in one number.
listing() {
  find "$1/" -type f -iname '*.png' -printf '%s %P\n' | LC_ALL=C sort | md5sum | cut -d ' ' -f 1
}

# there SET: is it in DIR as it should be? Never touches what is there.
there() {
  local stamp=$state/$1.json found
  if [ ! -e "$dir/$1" ] && [ ! -L "$dir/$1" ]; then return 1; fi
  [ -d "$dir/$1" ] || fail "$dir/$1: is not a folder; move it away or name another folder"
  found=$(counts "$1" "$dir/$1")
  if [ -e "$stamp" ]; then
    [ "$(jq -r .listing "$stamp" 2>/dev/null)" = "$(listing "$dir/$1")" ] ||
      fail "$dir/$1: no longer the files that were fetched (${found:-no PNG files} now); move it" \
        "away or delete it, then run this again"
    say "$1: there already, as fetched on $(jq -r .date "$stamp") ($found)"
  elif [ "$found" = "${expected[$1]}" ]; then
    say "$1: there already ($found), but not from this script: only its files were counted"
  else
    fail "$dir/$1: holds something else (${found:-no folders of PNG files}, not" \
      "${expected[$1]}); move it away or name another folder"
  fi
}

# metadata: asks the server. Sets version, licence, and answer: these two and eight for each file.
metadata() {
  local name=metadata url="$server/api/datasets/:persistentId/?persistentId=$doi"
  local file=$state/dataset.json
  say "asking $server for $doi"
  fetch "$url" "$file" 0
  # A file is found by its persistent id, else by its name.
  mapfile -t answer < <(jq -r --arg train "${published_as[train]}" \
    --arg test "${published_as[test]}" '
    def line: tostring | gsub("\\s+"; " ") | .[:300];
    def found($id; $name): . as $all
      | [$all[] | select(.dataFile.persistentId == $id)] as $by_id
      | [$all[] | select(.dataFile.filename == $name or .label == $name)] as $by_name
      | (if $by_id != [] then $by_id else $by_name end) as $files
      | ($files | length),
        ($files[0] | .dataFile.id, .dataFile.persistentId // "", .dataFile.filesize,
        .dataFile.checksum.type // (if .dataFile.md5 then "MD5" else "" end),
        .dataFile.checksum.value // .dataFile.md5 // "", .restricted // false | line),
        ([$all[] | .label // .dataFile.filename] | join(", ") | line);
    select(.status == "OK") | .data.latestVersion
    | ("\(.versionNumber // "?").\(.versionMinorNumber // "?")" | line),
      ((.license | if type == "object" then .name else . end) // .termsOfUse // "not stated"
        | line),
      (.files | found($train; "train.zip"), found($test; "test.zip"))' "$file" 2>/dev/null)
  [ ${#answer[@]} = 18 ] || fail "metadata of $doi: not understood: $(said "$file") ($url)"
  version=${answer[0]} licence=${answer[1]}
  say "version $version; licence as the server states it: $licence"
}

# describe SET: its file. Sets pid, id, size, sum_type, sum, address, of.
describe() {
  local at=2 fields
  [ "$1" = train ] || at=10
  fields=("${answer[@]:at:8}")
  id=${fields[1]} pid=${fields[2]} size=${fields[3]} sum_type=${fields[4]} sum=${fields[5],,}
  [ "${fields[0]}" != 0 ] ||
    fail "$name: the dataset (version $version) has no such file; it has: ${fields[7]}"
  [ "${fields[0]}" = 1 ] || fail "$name: the dataset has ${fields[0]} files of this name and none" \
    "with the id ${published_as[$1]}; see $state/dataset.json"
  [ "${fields[6]}" = false ] || fail "$name: restricted by its owners: ask them for it$(by_hand)"
  [[ $size =~ ^[1-9][0-9]{0,15}$ ]] || fail "$name: its metadata state no size ('$size')"
  [[ $pid =~ ^[a-zA-Z]*:?[-A-Za-z0-9._/]*$ ]] || fail "$name: not a persistent id: '$pid'"
  if [ -n "$pid" ]; then
    address="$server/api/access/datafile/:persistentId?persistentId=$pid"
  else
    [[ $id =~ ^[0-9]+$ ]] || fail "$name: its metadata state no id ('$id')"
    address="$server/api/access/datafile/$id"
  fi
  [[ $sum_type =~ ^(MD5|SHA-1|SHA-256|SHA-512)$ ]] || sum=
  # What a partial file belongs to.
  of="$name $size ${sum:-$address}"
}

# whole ZIP: has it the size and checksum of the metadata? If not, `found` says what it has.
whole() {
  local tool=${sum_type,,} have
  have=$(size_of "$1")
  found="it has $have bytes, the metadata state $size"
  [ "$have" = "$size" ] || return 1
  if [ -z "$sum" ]; then
    say "$name: no checksum to compare with (${sum_type:-none} in the metadata); its size is" \
      "right, and unpacking will check its CRCs"
    return 0
  fi
  say "$name: checking its ${sum_type/-/}"
  run "${tool/-/}sum" -- "$1" >"$state/sum" || fail "$1: can't be read"
  found=$(sed 's/^\\//; s/ .*//' "$state/sum")
  [ "$found" != "$sum" ] || return 0
  found="its ${sum_type/-/} is $found, the metadata state $sum"
  return 1
}

# unpack SET ZIP: into $unpacked; status 1 if the archive is damaged. Sets root, where the classes'
# folders are.
unpack() {
  local names bad bytes code=0
  found="the archive is damaged or cut short"
  rm -rf -- "$unpacked"
  names=$(unzip -Z1 "$2" 2>/dev/null) || return 1
  bad=$(grep -m 1 -E '^/|(^|/)\.\.(/|$)|\\|^[A-Za-z]:' <<<"$names" || true)
  [ -z "$bad" ] || fail "$2: refused: its entry '$bad' would leave the folder"
  bad=$(unzip -Z "$2" | grep -m 1 -E '^[bclps][-r?]' || true)
  [ -z "$bad" ] || fail "$2: refused: an entry is a link or a device: $bad"
  bytes=$(unzip -Z -t "$2" | sed -n 's/^[0-9]* files\{0,1\}, \([0-9]*\) bytes uncompressed.*/\1/p')
  [ -n "$bytes" ] || return 1
  need "$bytes" "unpacking $name"
  say "$name: unpacking $(wc -l <<<"$names") entries, $(human "$bytes")"
  mkdir -- "$unpacked"
  run unzip -q -o -d "$unpacked" "$2" </dev/null >"$state/log" 2>&1 || code=$?
  case $code in
    0 | 1) ;;
    50) fail "$unpacked: can't be written: is the disk full? $(room) are free. Make room: the" \
      "same command goes on" ;;
    *) return 1 ;;
  esac
  bad=$(find "$unpacked" ! -type f ! -type d -print -quit)
  [ -z "$bad" ] || fail "$2: refused: $bad is neither a file nor a folder"
  # What macOS adds to archives is not data.
  rm -rf -- "$unpacked/__MACOSX"
  find "$unpacked" -type f \( -name '._*' -o -name .DS_Store \) -delete
  root=$unpacked
  [ ! -d "$unpacked/$1" ] || root=$unpacked/$1
}

# take SET ZIP: is it whole, and unpacked? If not, `found` says what is wrong.
take() {
  whole "$2" || return 1
  if unpack "$1" "$2"; then return 0; fi
  [ -z "$sum" ] || fail "$2: is what was published, but $found; tell $server"
  return 1
}

# obtain SET: downloads, checks, unpacks and puts it into place.
obtain() {
  local part=$state/$name.part taken=no try
  if [ -f "$dir/$name" ]; then
    if take "$1" "$dir/$name"; then taken=yes; else
      say "$dir/$name: not the published file: $found; downloading it instead"
    fi
  fi
  if [ -e "$part" ] && [ "$(cat -- "$part.of" 2>/dev/null)" != "$of" ]; then
    say "$name: $part is of another file or version; starting over"
    rm -f -- "$part"
  fi
  for try in first second; do
    [ "$taken" = no ] || break
    say "$name: $(human "$size") from $address"
    [ ! -e "$part" ] || say "$name: going on at $(human "$(size_of "$part")")"
    printf '%s\n' "$of" >"$part.of"
    fetch "$address" "$part" "$size"
    if take "$1" "$part"; then taken=yes; continue; fi
    rm -f -- "$part" "$part.of"
    [ "$try" = first ] || fail "$name: wrong again: $found. Nothing of it is kept. Is a proxy" \
      "changing it? Try later, or tell $server"
    say "$name: wrong: $found; downloading it again from the start"
  done
  local found_counts
  found_counts=$(counts "$1" "$root")
  if [ "$found_counts" != "${expected[$1]}" ]; then
    found="${found_counts:-no folders of PNG files}, not ${expected[$1]}"
    expected[$1]=$found_counts
    fail "$name: holds $found: the published dataset has changed (version $version), and results" \
      "no longer compare with the paper's. To take it nevertheless, without another download:" \
      "--expect '${expected[train]},${expected[test]}'"
  fi
  jq -n --arg doi "$doi" --arg version "$version" --arg licence "$licence" \
    --arg address "$address" --arg size "$size" --arg checksum "${sum:+$sum_type $sum}" \
    --arg counts "$found_counts" --arg listing "$(listing "$root")" \
    --arg date "$(date -u +%Y-%m-%dT%H:%M:%SZ)" '$ARGS.named' >"$state/$1.json.new"
  mv -- "$state/$1.json.new" "$state/$1.json"
  sync -f "$state"
  mv -T -- "$root" "$dir/$1"
  rm -f -- "$part" "$part.of"
  say "$1: done ($found_counts)"
}

missing=()
for set in train test; do there "$set" || missing+=("$set"); done
if [ ${#missing[@]} -gt 0 ]; then
  metadata
  # Archives go when they are unpacked. PNG hardly packs, so 2 % more is what unpacking takes.
  used=0 most=0
  for set in "${missing[@]}"; do
    name=$set.zip
    describe "$set"
    have=$(size_of "$state/$name.part")
    [ ! -f "$dir/$name" ] || have=$size
    used=$((used + size - have + size + size / 50))
    [ "$used" -le "$most" ] || most=$used
    [ -f "$dir/$name" ] || used=$((used - size))
  done
  need "$most" "the dataset"
  for set in "${missing[@]}"; do
    name=$set.zip
    describe "$set"
    obtain "$set"
  done
fi
printf '%s\n' "$dir"

#pragma once

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <regex>
#include <string>
#include <vector>

#include "tests/support/process.h"
#include "tests/support/training.h"

namespace fulmar::test {

// What all matches of a pattern's first group are.
inline std::vector<std::string> all_matches(const std::string& text, const std::string& pattern) {
  const std::regex regex(pattern);
  std::vector<std::string> found;
  for (std::sregex_iterator it(text.begin(), text.end(), regex), end; it != end; ++it)
    found.push_back((*it)[1]);
  return found;
}

// The numbers that a report holds for programs.
inline nlohmann::ordered_json numbers_in(const std::string& page) {
  const std::string before = "<script type=\"application/json\" id=\"numbers\">";
  const size_t start = page.find(before) + before.size(), end = page.find("</script>", start);
  REQUIRE(page.find(before) != std::string::npos);
  return nlohmann::ordered_json::parse(page.substr(start, end - start));
}

// Of a page of its own: nothing is fetched, pictures and lines are described, links within the page
// lead somewhere, and HTML Tidy (where it is installed) has no complaint.
inline void check_page(const std::string& path) {
  CAPTURE(path);
  std::string page = contents(path);
  // Pictures in the page are long and hold nothing to look at.
  for (size_t at; (at = page.find("data:image/png;base64,")) != std::string::npos;)
    page.replace(at, page.find('"', at) - at, "data:,");
  for (const char* attribute : {"src", "href"})
    for (const std::string& target :
         all_matches(page, "[ <]" + std::string(attribute) + " *= *\"([^\"]*)\"")) {
      CAPTURE(target);
      const bool within = !target.empty() && target[0] == '#';
      CHECK((within || target == "data:,"));
      if (within) CHECK(has(page, "id=\"" + target.substr(1) + "\""));
    }
  for (const char* outside : {"url(", "@import", "<link", "<script src", "<iframe", "<object"})
    CHECK_FALSE(has(page, outside));
  CHECK(count_of(page, "<script") == 1);
  CHECK(count_of(page, "<svg ") == count_of(page, "role=\"img\""));
  CHECK(count_of(page, "<svg ") == count_of(page, "<desc>"));
  CHECK(count_of(page, "<img ") == count_of(page, "alt=\""));
  CHECK(count_of(page, "<table") == count_of(page, "<caption>"));
  CHECK(count_of(page, "<h1>") == 1);
  // Numbers that are none; "infidelity" is a word.
  CHECK(all_matches(page, "[>\" ](-?(nan|inf)[<\" ])").empty());
  const Ended tidy = run_process("/usr/bin/env", {"tidy", "-q", "-e", "-utf8", path});
  if (tidy.code == 127)
    MESSAGE("skipped: HTML Tidy is not installed (tools/setup.sh --all)");
  else
    CHECK_MESSAGE(tidy.code == 0, tidy.err);
}

}  // namespace fulmar::test

#include "tools/report/html.h"

#include <algorithm>

#include "kernels/version.h"
#include "tools/report/style.h"

namespace fulmar::tools {
namespace {

constexpr std::string_view replacement = "\xEF\xBF\xBD";  // U+FFFD
std::string valid_utf8(std::string_view text) {
  const Json json = std::string(text);
  return Json::parse(json.dump(-1, ' ', false, Json::error_handler_t::replace)).get<std::string>();
}

}  // namespace

std::string escaped(std::string_view text) {
  std::string result;
  for (const char c : valid_utf8(text)) {
    const bool control = (static_cast<unsigned char>(c) < 32 && c != '\n' && c != '\t') || c == 127;
    if (c == '&')
      result += "&amp;";
    else if (c == '<')
      result += "&lt;";
    else if (c == '>')
      result += "&gt;";
    else if (c == '"')
      result += "&quot;";
    else if (c == '\'')
      result += "&#39;";
    else if (control)
      result += replacement;
    else
      result += c;
  }
  return result;
}

std::string element(const std::string& name, std::string_view text, const std::string& attributes) {
  return "<" + name + (attributes.empty() ? "" : " " + attributes) + ">" + escaped(text) + "</" +
         name + ">";
}

std::string json_script(const std::string& id, const Json& json) {
  std::string text = json.dump(-1, ' ', false, Json::error_handler_t::replace);
  std::string safe;  // "</script" and "<!--" must not appear
  for (const char c : text) safe += c == '<' ? std::string("\\u003c") : std::string(1, c);
  return "<script type=\"application/json\" id=\"" + escaped(id) + "\">\n" + safe + "\n</script>\n";
}

std::string html_document(const std::string& title, const std::string& body, const Json& numbers) {
  return "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
         "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n" +
         element("title", title + " – Fulmar") + "\n<style>" + report_style +
         "</style>\n</head>\n<body>\n" + body +
         element("footer", std::string("Written by fulmar ") + version() + ", commit " + commit() +
                               ". Undefined numbers are shown as –.") +
         json_script("numbers", numbers) + "</body>\n</html>\n";
}

std::string HtmlTable::to_string() const {
  const auto is_text = [&](size_t column) {
    return std::find(text_columns.begin(), text_columns.end(), column) != text_columns.end();
  };
  std::string text = "<table>\n<caption>" + escaped(caption) + "</caption>\n<thead><tr>";
  for (size_t c = 0; c < columns.size(); c++)
    text += element("th", columns[c],
                    std::string("scope=\"col\"") + (is_text(c) ? " class=\"text\"" : ""));
  text += "</tr></thead>\n<tbody>\n";
  for (const std::vector<std::string>& row : rows) {
    text += "<tr>" + element("th", row[0], "scope=\"row\"");
    for (size_t c = 1; c < row.size(); c++)
      text += element("td", row[c], is_text(c) ? "class=\"text\"" : "");
    text += "</tr>\n";
  }
  return scrolling(caption, text + "</tbody></table>\n");
}

std::string scrolling(const std::string& label, const std::string& html) {
  return "<div class=\"wide\" role=\"region\" tabindex=\"0\" aria-label=\"" + escaped(label) +
         "\">" + html + "</div>\n";
}

std::string fact_table(const std::string& caption, const Facts& facts) {
  std::string text = "<table class=\"facts\">\n" + element("caption", caption) + "\n<tbody>\n";
  for (const auto& [name, value] : facts)
    text += "<tr>" + element("th", name, "scope=\"row\"") + element("td", value) + "</tr>\n";
  return text + "</tbody></table>\n";
}

}  // namespace fulmar::tools

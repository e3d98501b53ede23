#include "tools/html.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "kernels/error.h"

namespace fulmar::tools {
namespace {

constexpr std::string_view replacement = "\xEF\xBF\xBD";  // U+FFFD
constexpr std::string_view digits =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

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

std::string base64(std::string_view bytes) {
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t at = 0; at < bytes.size(); at += 3) {
    const size_t count = std::min<size_t>(3, bytes.size() - at);
    uint32_t word = 0;
    for (size_t i = 0; i < 3; i++)
      word = word << 8 | (i < count ? static_cast<unsigned char>(bytes[at + i]) : 0u);
    for (size_t i = 0; i < 4; i++) text += i <= count ? digits[word >> (18 - 6 * i) & 63] : '=';
  }
  return text;
}

std::string from_base64(std::string_view text) {
  std::string bytes;
  bool good = text.size() % 4 == 0;
  for (size_t at = 0; at < text.size() && good; at += 4) {
    uint32_t word = 0;
    size_t count = 4;
    for (size_t i = 0; i < 4; i++) {
      const char c = text[at + i];
      const size_t digit = digits.find(c);
      const bool filling = c == '=' && i >= 2 && at + 4 == text.size();
      if (filling && count == 4) count = i;
      good = good && (filling || (digit != digits.npos && count == 4));
      word = word << 6 | (digit == digits.npos ? 0u : static_cast<uint32_t>(digit));
    }
    for (size_t i = 0; i + 1 < count; i++) bytes += static_cast<char>(word >> (16 - 8 * i) & 255);
  }
  if (!good)
    file_error("bytes written as base64 are expected, not '" + std::string(text.substr(0, 20)) +
               "…'");
  return bytes;
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

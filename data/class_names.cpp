#include "data/class_names.h"

#include <cstddef>
#include <cstdint>

namespace fulmar::data {

namespace {

// Letters in pairs, one without and one with an accent that Unicode has as a character too.
struct Accented {
  uint32_t accent;
  const char* pairs;
};
constexpr Accented table[] = {
    {0x300, "AÀEÈIÌOÒUÙaàeèiìoòuùNǸnǹ"},
    {0x301, "AÁEÉIÍOÓUÚYÝaáeéiíoóuúyýCĆcćLĹlĺNŃnńRŔrŕSŚsśZŹzźGǴgǵ"},
    {0x302, "AÂEÊIÎOÔUÛaâeêiîoôuûCĈcĉGĜgĝHĤhĥJĴjĵSŜsŝWŴwŵYŶyŷ"},
    {0x303, "AÃNÑOÕaãnñoõIĨiĩUŨuũ"},
    {0x304, "AĀaāEĒeēIĪiīOŌoōUŪuūYȲyȳ"},
    {0x306, "AĂaăEĔeĕGĞgğIĬiĭOŎoŏUŬuŭ"},
    {0x307, "CĊcċEĖeėGĠgġIİZŻzżAȦaȧOȮoȯ"},
    {0x308, "AÄEËIÏOÖUÜaäeëiïoöuüyÿYŸ"},
    {0x30A, "AÅaåUŮuů"},
    {0x30B, "OŐoőUŰuű"},
    {0x30C, "CČcčDĎdďEĚeěLĽlľNŇnňRŘrřSŠsšTŤtťZŽzžAǍaǎIǏiǐOǑoǒUǓuǔGǦgǧKǨkǩjǰHȞhȟ"},
    {0x30F, "AȀaȁEȄeȅIȈiȉOȌoȍRȐrȑUȔuȕ"},
    {0x311, "AȂaȃEȆeȇIȊiȋOȎoȏRȒrȓUȖuȗ"},
    {0x31B, "OƠoơUƯuư"},
    {0x326, "SȘsșTȚtț"},
    {0x327, "CÇcçGĢgģKĶkķLĻlļNŅnņRŖrŗSŞsşTŢtţEȨeȩ"},
    {0x328, "AĄaąEĘeęIĮiįUŲuųOǪoǫ"},
    // Of letters that have an accent already, or are not ASCII.
    {0x300, "ÜǛüǜ"},
    {0x301, "ÜǗüǘÅǺåǻÆǼæǽØǾøǿ"},
    {0x304, "ÜǕüǖÄǞäǟȦǠȧǡÆǢæǣǪǬǫǭÖȪöȫÕȬõȭȮȰȯȱ"},
    {0x30C, "ÜǙüǚƷǮʒǯ"}};

// The character at a place, which moves on; a byte that begins none counts as itself.
uint32_t next_character(std::string_view text, size_t& at) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t first = byte(at++);
  const size_t more = first < 0xC2 ? 0 : first < 0xE0 ? 1 : first < 0xF0 ? 2 : first < 0xF5 ? 3 : 0;
  if (more == 0 || more > text.size() - at) return first;
  uint32_t character = first & (0x3Fu >> more);
  for (size_t i = 0; i < more; i++) character = character << 6 | (byte(at++) & 0x3Fu);
  return character;
}

void add_small(uint32_t character, std::string& text) {
  const auto within = [&](uint32_t first, uint32_t last) {
    return character >= first && character <= last;
  };
  if (within('A', 'Z') || (within(0xC0, 0xDE) && character != 0xD7) || within(0x391, 0x3A9) ||
      within(0x410, 0x42F))
    character += 0x20;
  else if (within(0x400, 0x40F))
    character += 0x50;
  else if (within(0x100, 0x137) || within(0x14A, 0x177))
    character |= 1;  // capital and small letters in turn
  if (character < 0x80) {
    text += static_cast<char>(character);
    return;
  }
  const int more = character < 0x800 ? 1 : character < 0x10000 ? 2 : 3;
  text += static_cast<char>(0xF00u >> more | character >> (6 * more));
  for (int i = more - 1; i >= 0; i--)
    text += static_cast<char>(0x80u | (character >> (6 * i) & 0x3Fu));
}

void add_folded(uint32_t character, std::string& text) {
  for (const Accented& row : table) {
    const std::string_view pairs = row.pairs;
    for (size_t at = 0; at < pairs.size();) {
      const uint32_t plain = next_character(pairs, at);
      if (next_character(pairs, at) != character) continue;
      add_folded(plain, text);
      add_small(row.accent, text);
      return;
    }
  }
  add_small(character, text);
}

}  // namespace

bool is_utf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
    const uint8_t first = byte(at);
    const size_t length = first < 0x80                     ? 1
                          : first >= 0xC2 && first <= 0xDF ? 2
                          : first >= 0xE0 && first <= 0xEF ? 3
                          : first >= 0xF0 && first <= 0xF4 ? 4
                                                           : 0;
    if (length == 0 || length > text.size() - at) return false;
    for (size_t i = 1; i < length; i++)
      if (byte(at + i) >> 6 != 2) return false;
    // Overlong forms, surrogates, and what lies beyond U+10FFFF.
    const uint8_t second = length > 1 ? byte(at + 1) : 0;
    if ((first == 0xE0 && second < 0xA0) || (first == 0xED && second > 0x9F) ||
        (first == 0xF0 && second < 0x90) || (first == 0xF4 && second > 0x8F))
      return false;
    at += length;
  }
  return true;
}

std::string folded_name(std::string_view name) {
  std::string text;
  for (size_t at = 0; at < name.size();) add_folded(next_character(name, at), text);
  const size_t first = text.find_first_not_of(' ');
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(' ') - first + 1);
}

}  // namespace fulmar::data

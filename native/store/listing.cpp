#include "store/listing.hpp"

#include <sys/stat.h>

#include <filesystem>
#include <set>
#include <system_error>

#include "base/error.hpp"
#include "image/reader.hpp"
#include "store/directory.hpp"
#include "store/links.hpp"
#include "store/names.hpp"

namespace ckpt::store {

namespace fs = std::filesystem;

namespace {

std::vector<Listed> list_own(const std::string& root) {
  const Layout layout{root};
  std::vector<Listed> found;
  for (const std::string& file : names_in(layout.snapshots()))
    if (const std::string name = snapshot_name(file); !name.empty())
      found.push_back({name, layout.snapshot(name), false, 0});
  return found;
}

/// What the snapshot that a link leads to is called, unless another one has the name.
std::string own_name(const Link& link, const SaidName& said) {
  for (std::string name : {said(link.target), fs::path(link.target).stem().string()})
    if (is_name(name)) return name;
  return fs::path(link.path).filename();
}

std::set<std::string> names_of(const std::vector<Listed>& listed) {
  std::set<std::string> names;
  for (const Listed& each : listed) names.insert(each.name);
  return names;
}

}  // namespace

std::string said_name(const std::string& path) {
  try {
    return image::Reader::open(path).record().value("name", "");
  } catch (const Error&) {
    return "";
  } catch (const image::Json::exception&) {
    return "";
  }
}

std::vector<Listed> list(const std::string& root, const SaidName& said) {
  if (!check_directory(root)) return {};
  std::vector<Listed> found = list_own(root);
  std::set<std::string> taken = names_of(found);
  std::error_code gone;
  for (const Link& link : links(root)) {
    if (link.kind == LinkKind::claim || !fs::exists(link.target, gone)) continue;
    std::string name = free_name(own_name(link, said), taken);
    if (name.empty()) name = fs::path(link.path).filename();
    taken.insert(name);
    found.push_back({name, link.target, true, link.made_s});
  }
  return found;
}

std::vector<std::string> images(const std::string& root) {
  std::vector<std::string> found;
  for (const Listed& own : list_own(root)) found.push_back(own.path);
  std::error_code gone;
  for (const Link& link : links(root))
    if (fs::exists(link.target, gone)) found.push_back(link.target);
  return found;
}

std::optional<Listed> find(const std::string& root, const std::string& name, const SaidName& said) {
  if (!check_directory(root)) return std::nullopt;
  if (name.empty() || name.find_first_of(std::string_view("/\0", 2)) != std::string::npos)
    return std::nullopt;
  const std::string path = Layout{root}.snapshot(name);
  struct stat status {};
  if (::lstat(path.c_str(), &status) == 0) return Listed{name, path, false, 0};
  for (const Listed& each : list(root, said))
    if (each.external && each.name == name) return each;
  return std::nullopt;
}

std::string default_name(const std::string& root, const std::string& program,
                         const std::string& kind, const SaidName& said) {
  const std::string stem = stem_of(program) + (kind.empty() ? "" : "-" + kind);
  const auto taken = names_of(list(root, said));
  return free_name(next_name(stem, taken), taken);
}

std::string name_for_file(const std::string& root, const std::string& file, const SaidName& said) {
  std::error_code gone;
  std::set<std::string> taken;
  for (const Listed& each : list(root, said))
    if (each.path != file && !fs::equivalent(each.path, file, gone)) taken.insert(each.name);
  const std::string name = fs::path(file).stem();
  return free_name(is_name(name) ? name : stem_of(name), taken);
}

}  // namespace ckpt::store

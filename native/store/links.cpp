#include "store/links.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <tuple>

#include "base/digest.hpp"
#include "base/error.hpp"
#include "base/io.hpp"
#include "store/directory.hpp"

namespace ckpt::store {

namespace fs = std::filesystem;

namespace {

// How the names of claims begin.
constexpr std::string_view kClaim = "claim-";

struct Found {
  Link link;
  timespec made{};
};

bool made_before(const Found& left, const Found& right) {
  return std::tie(left.made.tv_sec, left.made.tv_nsec, left.link.path) <
         std::tie(right.made.tv_sec, right.made.tv_nsec, right.link.path);
}

bool leads_to(const Link& link, const std::string& image_path) {
  std::error_code gone;
  return link.target == image_path || fs::equivalent(link.target, image_path, gone);
}

}  // namespace

std::vector<Link> links(const std::string& root) {
  const std::string directory = Layout{root}.external();
  std::vector<Found> found;
  for (const std::string& name : names_in(directory)) {
    const std::string path = fs::path(directory) / name;
    const auto target = try_read_link(path);
    struct stat status {};
    if (!target || ::lstat(path.c_str(), &status) != 0) continue;
    const timespec made = status.st_mtim;
    const LinkKind kind = name.starts_with(kClaim) ? LinkKind::claim : LinkKind::listed;
    const double made_s =
        static_cast<double>(made.tv_sec) + 1e-9 * static_cast<double>(made.tv_nsec);
    found.push_back({{path, fs::path(directory) / *target, kind, made_s}, made});
  }
  std::sort(found.begin(), found.end(), made_before);
  std::vector<Link> links;
  links.reserve(found.size());
  for (Found& each : found) links.push_back(std::move(each.link));
  return links;
}

std::string add_link(const std::string& root, const std::string& image_path, LinkKind kind) {
  for (const Link& link : links(root))
    if (leads_to(link, image_path) && (kind == LinkKind::claim || link.kind == LinkKind::listed))
      return "";
  // A name in which nothing is that a snapshot says.
  std::string path =
      fmt::format("{}/{}{}", Layout{root}.external(), kind == LinkKind::claim ? kClaim : "",
                  digest_hex(std::as_bytes(std::span(image_path.data(), image_path.size()))));
  if (::symlink(image_path.c_str(), path.c_str()) != 0 && errno != EEXIST)
    throw_errno(fmt::format("create {}", path), errno);
  return path;
}

void claim(const std::string& root, const std::string& image_path,
           const std::string& saved_with) noexcept {
  try {
    std::error_code other;
    const fs::path image = fs::absolute(image_path).lexically_normal();
    if (fs::equivalent(saved_with, root, other) && !Layout{root}.holds(image))
      add_link(root, image, LinkKind::claim);
  } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): it is claimed the next time
  }
}

void remove_links(const std::string& root, const std::string& image_path) noexcept {
  try {
    std::error_code ignored;
    for (const Link& link : links(root))
      if (link.target == image_path) fs::remove(link.path, ignored);
  } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): it is listed on
  }
}

void remove_dead_links(const std::string& root) {
  std::error_code gone;
  for (const Link& link : links(root))
    if (!fs::exists(link.target, gone)) fs::remove(link.path, gone);
}

}  // namespace ckpt::store

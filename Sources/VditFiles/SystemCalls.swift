import Glibc

// The calls to the system that take a path, for paths as text: see PathBytes.swift. Where VditFiles is imported they
// stand before the system's own, which would take the text as it is.

package func open(_ path: String, _ flags: Int32, _ mode: mode_t = 0) -> Int32 {
    path.withPath { Glibc.open($0, flags, mode) }
}

package func stat(_ path: String, _ status: UnsafeMutablePointer<stat>) -> Int32 {
    path.withPath { stat($0, status) }
}

package func lstat(_ path: String, _ status: UnsafeMutablePointer<stat>) -> Int32 {
    path.withPath { Glibc.lstat($0, status) }
}

package func statvfs(_ path: String, _ status: UnsafeMutablePointer<statvfs>) -> Int32 {
    path.withPath { statvfs($0, status) }
}

package func access(_ path: String, _ mode: Int32) -> Int32 { path.withPath { Glibc.access($0, mode) } }

@discardableResult package func unlink(_ path: String) -> Int32 { path.withPath { Glibc.unlink($0) } }

@discardableResult package func rmdir(_ path: String) -> Int32 { path.withPath { Glibc.rmdir($0) } }

package func mkdir(_ path: String, _ mode: mode_t) -> Int32 { path.withPath { Glibc.mkdir($0, mode) } }

package func rename(_ path: String, _ other: String) -> Int32 {
    path.withPath { path in other.withPath { Glibc.rename(path, $0) } }
}

package func link(_ path: String, _ other: String) -> Int32 {
    path.withPath { path in other.withPath { Glibc.link(path, $0) } }
}

package func readlink(_ path: String, _ buffer: UnsafeMutablePointer<CChar>, _ size: Int) -> Int {
    path.withPath { Glibc.readlink($0, buffer, size) }
}

package func opendir(_ path: String) -> OpaquePointer? { path.withPath { Glibc.opendir($0) } }

/// The path without links; nil with `errno` set where it does not lead to anything.
package func realpath(_ path: String) -> String? {
    guard let found = path.withPath({ Glibc.realpath($0, nil) }) else { return nil }
    defer { free(found) }
    return String(path: found)
}

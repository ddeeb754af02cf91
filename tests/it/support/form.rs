//! Multipart forms, written byte by byte.

pub struct Form {
    boundary: String,
    bytes: Vec<u8>,
}

impl Form {
    pub fn new() -> Self {
        Self::with_boundary("boundary-7d8f")
    }

    pub fn with_boundary(boundary: &str) -> Self {
        Self { boundary: boundary.to_owned(), bytes: Vec::new() }
    }

    /// A part with these header lines.
    pub fn part(mut self, headers: &[&str], data: &[u8]) -> Self {
        self.bytes.extend(format!("--{}\r\n", self.boundary).bytes());
        for header in headers {
            self.bytes.extend(format!("{header}\r\n").bytes());
        }
        self.bytes.extend(b"\r\n");
        self.bytes.extend(data);
        self.bytes.extend(b"\r\n");
        self
    }

    /// A file with a declared type.
    pub fn file(self, name: &str, media_type: &str, data: &[u8]) -> Self {
        let disposition = format!("Content-Disposition: form-data; name=\"{name}\"; filename=\"{name}.jpg\"");
        self.part(&[&disposition, &format!("Content-Type: {media_type}")], data)
    }

    /// The photo as all clients send it.
    pub fn photo(self, data: &[u8]) -> Self {
        self.file("photo", "image/jpeg", data)
    }

    pub fn text(self, name: &str, text: &str) -> Self {
        self.part(&[&format!("Content-Disposition: form-data; name=\"{name}\"")], text.as_bytes())
    }

    pub fn content_type(&self) -> String {
        format!("multipart/form-data; boundary={}", self.boundary)
    }

    /// The form without its end.
    pub fn unfinished(&self) -> Vec<u8> {
        self.bytes.clone()
    }

    pub fn finished(&self) -> Vec<u8> {
        [self.bytes.as_slice(), format!("--{}--\r\n", self.boundary).as_bytes()].concat()
    }
}

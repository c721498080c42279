//! The device key: a file of 32 random bytes, made at the first start.
//!
//! It protects codes and the pepper on the disk. Whoever steals disk and file together has both; a key that cannot be
//! read out (PKCS#11, TPM) is a matter of another implementation of this one function.

use std::path::Path;

use cabinet_core::DeviceKey;

/// Why there is no device key.
#[derive(Debug, thiserror::Error)]
pub enum DeviceKeyError {
    #[error("device key")]
    File(#[from] certs::FileError),
    #[error("device key `{0}` is not 32 bytes; if the file is damaged, the cabinet has to be enrolled anew")]
    Length(std::path::PathBuf),
    #[error("no random numbers from the operating system")]
    Random,
    #[error(
        "device key `{key}` is missing, but store `{store}` was made with one; put the key back, or remove the store \
         to enrol the cabinet anew"
    )]
    Lost { key: std::path::PathBuf, store: std::path::PathBuf },
}

/// Reads the key, or makes it when there is no store yet that another key would belong to.
pub fn read_or_make(path: &Path, store: &Path) -> Result<DeviceKey, DeviceKeyError> {
    if !path.exists() {
        if store.exists() {
            return Err(DeviceKeyError::Lost { key: path.to_owned(), store: store.to_owned() });
        }
        let mut key = zeroize::Zeroizing::new([0; 32]);
        getrandom::fill(key.as_mut()).map_err(|_| DeviceKeyError::Random)?;
        certs::create_private(path, key.as_ref())?;
    }
    let bytes = certs::read_private(path)?;
    let key: [u8; 32] = bytes.as_slice().try_into().map_err(|_| DeviceKeyError::Length(path.to_owned()))?;
    Ok(DeviceKey(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_never_replaced_beside_a_store() {
        let folder = tempfile::tempdir().unwrap();
        let (path, store) = (folder.path().join("device.key"), folder.path().join("cabinet.redb"));
        let made = read_or_make(&path, &store).unwrap();
        std::fs::write(&store, b"rows").unwrap();
        assert_eq!(read_or_make(&path, &store).unwrap().0, made.0);
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(read_or_make(&path, &store), Err(DeviceKeyError::Lost { .. })));
        certs::create_private(&path, b"short").unwrap();
        assert!(matches!(read_or_make(&path, &store), Err(DeviceKeyError::Length(_))));
    }
}

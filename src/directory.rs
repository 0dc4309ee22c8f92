use crate::{license::*, mapping::Mapping, policy::PortSet};
#[derive(Clone, Debug)]
pub struct Entry {
    pub name: String,
    pub id: LicenseId,
    pub verifier: Verifier,
    pub ports: PortSet,
    pub maps: Vec<Mapping>,
    pub max_mappings: Option<u32>,
    pub max_visitors: Option<u32>,
    pub revoked: bool,
}
#[derive(Clone, Debug, Default)]
pub struct Directory(pub Vec<Entry>);
impl Directory {
    pub fn by_id(&self, id: LicenseId) -> Option<&Entry> {
        self.0.iter().find(|e| e.id == id)
    }
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.0.iter()
    }
}

//! Enums whose variants have names in storage and in output.

/// Declares such an enum from the list of its variants and their names.
macro_rules! names {
    ($(#[$doc:meta])* $vis:vis enum $set:ident { $($(#[$variant_doc:meta])* $variant:ident = $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        $vis enum $set {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $set {
            /// Every variant, in the order of declaration.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$variant),*];

            /// The name in storage and in output.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// Returns the variant with this name.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.into_iter().find(|variant| variant.as_str() == name)
            }
        }
    };
}
pub(crate) use names;
